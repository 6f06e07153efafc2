"""The reference of a question: other embeddings for its tokens, with which the model's run is compared."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from transformers import PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as CAUSAL
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES as MASKED

from ligflow.devices.precision import exact_mode
from ligflow.errors import LigflowError
from ligflow.explainer.prepared_model import PreparedModel
from ligflow.inputs.chat import is_chat
from ligflow.inputs.token_text import token_texts
from ligflow.inputs.tokens import special_ids, text_config
from ligflow.layer.model_state import prepared
from ligflow.prediction.counterfactual import counterfactual_ids
from ligflow.prediction.embedded import Embedded, embedded
from ligflow.prediction.neutral_token import neutral_token
from ligflow.prediction.question import Question
from ligflow.prediction.replaced import Spans, kept_tokens

NAMES = ("neutral", "random", "mean")
_ROUGH = "between words and the mean embedding models are rough: it takes more points than other references"


@dataclass(frozen=True, eq=False)
class Reference:
    """Embeddings of a question's tokens in the reference run, as the model's input embeddings give them.

    `kept` goes over all tokens of the question, an encoder's first: those that both runs share. `tokens` are
    the reference's own labels where they are tokens; `notes` say how it came about.
    """

    name: str
    embeddings: Tensor
    kept: Bool[Tensor, " token"]
    notes: tuple[str, ...] = ()
    tokens: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Random:
    """Several references of random tokens: of a corpus' texts, or without one of the whole vocabulary."""

    count: int = 5
    seed: int = 0
    corpus: Sequence[str] = ()

    def __post_init__(self) -> None:
        if not _whole(self.count) or self.count < 1:
            raise LigflowError(f"count is {self.count!r}; give a whole number of references from 1 on.")
        if not _whole(self.seed):
            raise LigflowError(
                f"seed is {self.seed!r}; give a whole number, with which the same is drawn again."
            )
        if isinstance(self.corpus, str):
            raise LigflowError("corpus is one text; give several texts: Random(corpus=(text, ...)).")
        object.__setattr__(self, "corpus", tuple(self.corpus))
        for text in self.corpus:
            if not isinstance(text, str):
                raise LigflowError(f"corpus holds {text!r}; give texts: Random(corpus=(text, ...)).")


def _whole(number: object) -> bool:
    return isinstance(number, int) and not isinstance(number, bool)


def several(reference: Any) -> bool:
    """Whether a reference is several, each with its own total."""
    if isinstance(reference, Random):
        return reference.count > 1
    return isinstance(reference, str) and reference == "random"


@dataclass(frozen=True, eq=False)
class _Making:
    """What references are made from."""

    whole: PreparedModel
    question: Question
    at: Embedded
    spanned: bool

    def of_ids(self, name: str, ids: Int[Tensor, "1 token"], *notes: str) -> Reference:
        """The reference of other tokens, kept ones as they are."""
        own = self.at.inputs
        ids = torch.where(self.at.own.to(own.device), own, ids.to(own))
        labels = token_texts(self.whole.tokenizer, ids[0].tolist())
        same = torch.zeros_like(self.at.kept)
        same[: ids.shape[1]] = (ids == own)[0].cpu()
        return Reference(name, self.at.of(ids), self.at.kept | same, notes, labels)

    def of_vectors(self, name: str, vectors: Tensor, *notes: str) -> Reference:
        """The reference of other embeddings, or of one for all tokens."""
        shaped = vectors.reshape(1, *vectors.shape[-2:]) if vectors.ndim > 1 else vectors[None, None]
        return Reference(name, self.at.instead(shaped), self.at.kept, notes)


def reference(
    whole: PreparedModel, question: Question, reference: Any = "neutral", on: Spans | None = None
) -> list[Reference]:
    """The references of a question: one, or several of random tokens.

    | `reference` | what |
    |---|---|
    | `"neutral"` | a token without content for each; of an image its mean pixel |
    | `"random"`, `Random(count, seed, corpus)` | random tokens, each reference with its own total |
    | `"mean"` | the mean embedding of the vocabulary |
    | any other text, a chat | a counterfactual of as many tokens |
    | a tensor | ids `[token]`, embeddings `[token, width]` or `[width]`; of an image other pixels |

    `on` names the tokens that are replaced: positions, (first, last) ranges, texts of the input; by default
    all but special tokens, a chat's template, the answer, and (but for real tokens in its place) a decoder's
    first token. Raises LigflowError for what is no reference,
    or is the input itself.
    """
    copy = whole.now()
    model = cast(PreTrainedModel, copy.placement.model)
    decodes = _decodes(model)
    kept = kept_tokens(question, on, sink=decodes and not _of_real_tokens(reference))
    with exact_mode(whole.home), copy.placement.running(), prepared(model, None):
        making = _Making(whole, question, embedded(model, question, kept), on is not None)
        references = [*_references(making, reference)]
    sinks = decodes and on is None
    return [
        _checked(each, making.at, _sink_note(question, kept, each) if sinks else ()) for each in references
    ]


def _references(making: _Making, reference: Any) -> Iterator[Reference]:
    if isinstance(reference, Tensor):
        yield _of_tensor(making, reference)
    elif making.question.of_image:
        yield _of_image(making, reference)
    elif isinstance(reference, Random) or reference == "random":
        yield from _random(making, reference if isinstance(reference, Random) else Random())
    elif isinstance(reference, str) and reference in _NAMED:
        yield _NAMED[reference](making)
    elif isinstance(reference, str) or is_chat(reference):
        free = (~making.at.own).nonzero()[:, 0].tolist()
        ids = counterfactual_ids(making.whole, making.question, reference, free, making.spanned)
        name = reference if isinstance(reference, str) else "another chat"
        yield making.of_ids(name, torch.tensor([ids]))
    else:
        raise LigflowError(
            f"reference is of type {type(reference).__name__}; choose from {', '.join(NAMES)}, or give a "
            "text of as many tokens, Random(...), or a tensor."
        )


def _neutral(making: _Making) -> Reference:
    number, note = neutral_token(making.whole.tokenizer, making.at)
    return making.of_ids("neutral", torch.full_like(making.at.inputs, number), note)


def _mean(making: _Making) -> Reference:
    return making.of_vectors("mean", making.at.mean(), f"the mean of {making.at.size} embeddings; {_ROUGH}")


_NAMED: dict[str, Callable[[_Making], Reference]] = {"neutral": _neutral, "mean": _mean}


def _random(making: _Making, random: Random) -> Iterator[Reference]:
    pool, source = _pool(making, random.corpus)
    note = f"random tokens of {source}, drawn with seed {random.seed}"
    for number in range(random.count):
        generator = torch.Generator().manual_seed(random.seed + number)
        drawn = torch.randint(len(pool), (1, making.at.inputs.shape[1]), generator=generator)
        yield making.of_ids(f"random {number}", pool[drawn], note)


def _pool(making: _Making, corpus: Sequence[str]) -> tuple[Int[Tensor, " id"], str]:
    """The ids that are drawn from, as often as they occur, and what they are."""
    tokenizer, size = making.whole.tokenizer, making.at.size
    if tokenizer is None:
        raise LigflowError(
            "Random tokens need the tokenizer, which tells words from marks: Explainer(model, tokenizer), or "
            "give ids as a tensor."
        )
    marks = special_ids(tokenizer) | {tokenizer.unk_token_id, tokenizer.mask_token_id}
    if corpus:
        every = [number for text in corpus for number in tokenizer(text, verbose=False)["input_ids"]]
        source = f"{len(corpus)} texts"
    else:
        every, source = sorted({*tokenizer.get_vocab().values()}), "the vocabulary"
    pool = [number for number in every if number < size and number not in marks]
    if not pool:
        raise LigflowError(f"There is no token to draw from {source}; give texts with words.")
    return torch.tensor(pool), source


def _of_image(making: _Making, reference: Any) -> Reference:
    if reference not in ("neutral", "mean"):
        raise LigflowError(
            f'An image has no reference {reference!r}; its own are "neutral" (its mean pixel), other pixels, '
            "or a tensor of embeddings."
        )
    pixels = making.at.inputs
    mean = pixels.mean(dim=(-2, -1), keepdim=True).expand_as(pixels)
    return Reference(
        "neutral", making.at.of(mean), making.at.kept, ("the reference is the image's own mean pixel",)
    )


def _of_tensor(making: _Making, tensor: Tensor) -> Reference:
    """A reference of ids or embeddings. Raises LigflowError for other shapes."""
    if tensor.is_meta:
        raise LigflowError("The reference is a tensor without numbers (device 'meta'); give one in memory.")
    at, tensor = making.at, tensor.detach()
    count, width = at.vectors.shape[1:]
    taught = sum(making.question.taught[:count])
    image = making.question.of_image
    if image and tensor.shape in (at.inputs.shape, at.inputs.shape[1:]):
        pixels = tensor.reshape(at.inputs.shape).to(at.inputs.dtype)
        return Reference("other pixels", at.of(pixels), at.kept)
    if tensor.is_floating_point():
        if tensor.shape == (width,):
            return making.of_vectors("own embedding", tensor)
        shaped = tensor[0] if tensor.ndim == 3 and len(tensor) == 1 else tensor
        if shaped.shape in ((count, width), (count - taught, width)):
            rest = at.vectors[0, len(shaped) :]
            return making.of_vectors("own embeddings", torch.cat([shaped.to(rest), rest]))
    elif not image and tensor.numel() in (count, count - taught) and tensor.dtype != torch.bool:
        ids = tensor.reshape(1, -1)
        _check_ids(ids, at.size)
        return making.of_ids("own tokens", torch.cat([ids.to(at.inputs), at.inputs[:, ids.shape[1] :]], 1))
    raise LigflowError(
        f"The reference is a tensor {list(tensor.shape)} of {tensor.dtype}; the input has {count - taught} "
        f"tokens of width {width}: give embeddings [{count - taught}, {width}] or [{width}]"
        + (f", or pixels {list(at.inputs.shape)}." if image else f", or whole numbers [{count - taught}].")
    )


def _check_ids(ids: Tensor, size: int) -> None:
    """Raises LigflowError for ids of tokens that the model has not."""
    for number in ids[0].tolist():
        if not 0 <= number < size:
            raise LigflowError(
                f"The reference has token {number}, and the model has embeddings of tokens 0 to {size - 1}; "
                "give ids among these."
            )


def _of_real_tokens(reference: Any) -> bool:
    """Whether a reference says itself what stands in the place of each token."""
    if isinstance(reference, Tensor):
        return reference.ndim > 1 or not reference.is_floating_point()
    return is_chat(reference) or (isinstance(reference, str) and reference not in NAMES)


def _decodes(model: PreTrainedModel) -> bool:
    """Whether a model of text sees what stands before a token alone."""
    kind = text_config(model.config).model_type
    causal = kind in CAUSAL and (kind not in MASKED or bool(getattr(model.config, "is_decoder", False)))
    return causal and not model.config.is_encoder_decoder


def _sink_note(question: Question, kept: Tensor, reference: Reference) -> tuple[str, ...]:
    """What becomes of a decoder's first token where that is a word."""
    if question.of_image or question.special[0] or question.tokens.passages:
        return ()
    first = f"the first token ({question.tokens.labels[0]!r})"
    why = "since no start token stands in front, and a decoder rests attention on the first whatever it is"
    if bool(kept[0]):
        return (f"{first} is kept, {why}; name it in on= (--on) to replace it too",)
    if bool(reference.kept[0]):  # the same token
        return ()
    return (f"{first} is replaced too; no start token stands in front of it",)


def _checked(reference: Reference, at: Embedded, notes: tuple[str, ...]) -> Reference:
    """The reference with all notes. Raises LigflowError where it is not finite, or is the input itself."""
    if not bool(torch.isfinite(reference.embeddings).all()):
        raise LigflowError(f"The reference {reference.name!r} holds numbers that are not finite.")
    if torch.equal(reference.embeddings, at.vectors):
        raise LigflowError(
            f"The reference {reference.name!r} is the input itself, so that nothing changes between the two "
            "runs; give another one."
        )
    return replace(reference, notes=(*reference.notes, *notes))
