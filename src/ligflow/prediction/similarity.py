"""Why two texts are similar to a model: each side alone, while the other stays as it is.

With both texts replaced at once nearly nothing would be explained: two neutral texts are about as similar as
the texts themselves.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self, Unpack

import torch
from jaxtyping import Float
from torch import Tensor

from ligflow.errors import LigflowError
from ligflow.explainer.prepared_model import PreparedModel
from ligflow.inputs.checks import Inputs
from ligflow.inputs.passages import Passages
from ligflow.keywords import check_flag
from ligflow.prediction.assembly import warn_unmet
from ligflow.prediction.explain import explain_rows
from ligflow.prediction.own_run import finite, own_run
from ligflow.prediction.prediction import Prediction
from ligflow.prediction.prompt import text_prompt
from ligflow.prediction.question import Question
from ligflow.prediction.references import reference as references_of
from ligflow.prediction.references import several
from ligflow.prediction.similar_pairs import similar_pairs
from ligflow.prediction.targets import question
from ligflow.prediction_settings import SimilarityOptions, ask
from ligflow.progress import Progress

POOLINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda states: states.mean(1),
    "first": lambda states: states[:, 0],
    "last": lambda states: states[:, -1],
}


@dataclass(frozen=True, eq=False)
class Similarity:
    """The cosine of two texts' vectors, explained from either side.

    `value` is that of the texts as they are. `text` explains it by the tokens of the first one while the
    second stays as it is, `other` the other way round: each has a reference run and a change of its own.

    `pairs`, where they were asked for, say what a token of the first and one of the second contribute
    together. They sum to `s(a, b) - s(a, b°) - s(a°, b) + s(a°, b°)`, which is `pairs_change`.
    `pairs_error` is the estimated error of each: an estimate, no bound.
    """

    value: float
    text: Prediction
    other: Prediction
    pooling: str
    pairs: Float[Tensor, "text other"] | None = None
    pairs_change: float | None = None
    pairs_error: Float[Tensor, "text other"] | None = None

    def save(self, path: str | Path) -> Path:
        """One safetensors file with JSON metadata, written beside `path` and renamed."""
        from ligflow.results.similarity_file import TokenPairs, save

        pairs = None
        if self.pairs is not None and self.pairs_error is not None and self.pairs_change is not None:
            pairs = TokenPairs(self.pairs, self.pairs_error, self.pairs_change)
        return save(path, self.value, self.pooling, (self.text, self.other), pairs)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """A saved similarity. Raises LigflowError for a damaged or foreign file."""
        from ligflow.results.similarity_file import load

        value, pooling, sides, pairs = load(path, Prediction)
        if pairs is None:
            return cls(value, *sides, pooling)
        return cls(value, *sides, pooling, pairs.pairs, pairs.change, pairs.error)

    def __repr__(self) -> str:
        parts = (f"from {side.reference_value:.4g}" for side in (self.text, self.other))
        return f"Similarity({self.value:.4g}: {' by the text, '.join(parts)} by the other)"


def explain_similarity(
    prepared: PreparedModel,
    text: Inputs,
    other: Inputs,
    *,
    pooling: str = "mean",
    pairs: bool = False,
    progress: Progress | None = None,
    **options: Unpack[SimilarityOptions],
) -> Similarity:
    """What each token of two texts contributes to their cosine (`Explainer.explain_similarity`)."""
    if pooling not in POOLINGS:
        raise LigflowError(f"Unknown pooling {pooling!r}; choose from {', '.join(POOLINGS)}.")
    check_flag("pairs", pairs)
    for passages in (text, other):
        if isinstance(passages, Passages):
            raise LigflowError(
                "Passages are a question with where its answer is to be found, and similarity is that of two "
                f"texts; pass texts, e.g. the question ({passages.question!r}) and the text of a passage."
            )
    settings = ask(SimilarityOptions, options)
    if pairs and several(settings.reference):
        raise LigflowError(
            "Pairs of tokens are explained against one reference, and this is several; choose another, e.g. "
            'Random(count=1) or "neutral", or leave pairs out.'
        )

    def side(own: Inputs, beside: Inputs) -> Prediction:
        subject = _question(prepared, own, beside, pooling, settings.truncate)
        about = settings.about(score="cosine")
        sides = [
            explain_rows(prepared, subject, each, settings, about, progress)[0]
            for each in references_of(prepared, subject, settings.reference)
        ]
        return warn_unmet(sides[0] if len(sides) == 1 else Prediction.mean(sides))

    first, second = side(text, other), side(other, text)
    if not pairs:
        return Similarity(first.value, first, second, pooling)
    matrix, errors, change = similar_pairs(
        prepared, text, other, lambda outputs: _vector(outputs, pooling), settings
    )
    return Similarity(first.value, first, second, pooling, matrix, change, errors)


def _question(prepared: PreparedModel, own: Inputs, beside: Inputs, pooling: str, truncate: bool) -> Question:
    """The cosine with a text that stays as it is, as a score."""
    prompt = text_prompt(prepared, beside, truncate)
    outputs = own_run(prepared, prompt.inputs, None).outputs
    fixed = finite(prepared, _vector(outputs, pooling)).detach()

    def cosine(outputs: Any) -> Float[Tensor, " point"]:
        similarity: Tensor = torch.cosine_similarity(_vector(outputs, pooling), fixed.to(outputs[0]), dim=-1)
        return similarity

    asked = question(prepared, own, score=cosine, truncate=truncate)
    said = prompt.tokens.text or " ".join(prompt.tokens.labels)
    return replace(asked, rows=(f"similarity to {said!r}",))


def _vector(outputs: Any, pooling: str) -> Float[Tensor, "point width"]:
    """A text's vector: its tokens' last hidden states, pooled; special tokens are among them."""
    states = getattr(outputs, "last_hidden_state", None)
    if not isinstance(states, Tensor):
        raise LigflowError(
            "The similarity of texts is that of hidden states, which the outputs of this model do not hold; "
            "load it without its head, e.g. with AutoModel."
        )
    return POOLINGS[pooling](states)
