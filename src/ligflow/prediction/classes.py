"""Questions to classifiers: of texts, of tokens, of images."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ligflow.errors import LigflowError
from ligflow.explainer.encoding import name_tokens
from ligflow.explainer.head import head_of
from ligflow.explainer.prepared_model import PreparedModel
from ligflow.inputs.checks import Inputs
from ligflow.inputs.pairs import Pair
from ligflow.inputs.token_names import token_position
from ligflow.prediction.own_run import finite_logits, own_run
from ligflow.prediction.prompt import Prompt, text_prompt, two_texts
from ligflow.prediction.question import Likeliest, Output, Question
from ligflow.prediction.scores import class_contrast, class_score
from ligflow.prediction.wish import Wish

_LISTED = 40  # classes that a message can list and still be read


def class_question(whole: PreparedModel, inputs: Inputs, wish: Wish, truncate: bool) -> Question:
    """A question to a classifier of texts or images: why a class, by default the likeliest."""
    if wish.position is not None:
        raise LigflowError(
            f"{type(whole.model).__name__} says one thing of the whole input; position is for models that "
            "say something at each token."
        )
    kind = head_of(whole.model).kind
    if "image" in kind:
        prompt = image_prompt(whole, inputs)
    elif isinstance(inputs, Pair) and not whole.model.config.is_encoder_decoder:
        prompt, _ = two_texts(whole, inputs)
    else:
        prompt = text_prompt(whole, inputs, truncate)
    return _of_class(whole, prompt, wish, kind, None)


def tag_question(whole: PreparedModel, inputs: Inputs, wish: Wish, truncate: bool) -> Question:
    """A question to a classifier of tokens: why a token is of a class, by default of the likeliest."""
    prompt = text_prompt(whole, inputs, truncate)
    plain = [place for place, mark in enumerate(prompt.tokens.special) if not mark]
    if wish.position is None and len(plain) != 1:
        listed = ", ".join(f"{place} {prompt.tokens.labels[place]}" for place in plain[:_LISTED])
        raise LigflowError(
            f"{type(whole.model).__name__} says something of each token; name one: position= one of {listed}."
        )
    at = (
        plain[0] if wish.position is None else token_position(wish.position, prompt.tokens.labels, "position")
    )
    return _of_class(whole, prompt, wish, "token classifier", at)


def _of_class(whole: PreparedModel, prompt: Prompt, wish: Wish, kind: str, at: int | None) -> Question:
    logits = finite_logits(whole, own_run(whole, prompt.inputs, None).outputs)
    own = logits[0] if at is None else logits[0, at]
    labels = _labels(whole, len(own))
    several = whole.model.config.problem_type == "multi_label_classification"
    number = int(own.argmax()) if wish.answer is None else class_number(wish.answer, labels)
    score, name = class_score(number, wish.score, len(labels), several, at), labels[number]
    notes = prompt.notes
    if wish.contrast is not None:
        other = class_number(wish.contrast, labels)
        if other == number:
            raise LigflowError(f"The contrast is the answer itself ({name!r}); give another class.")
        score, name = class_contrast(number, other, at), f"{name} rather than {labels[other]}"
    elif len(labels) == 1:
        notes += (f"{name} is a number of its own, no class among several: the score is that number",)
    count = len(prompt.tokens.labels) + len(prompt.decoder_tokens.labels if prompt.decoder_tokens else ())
    return Question(
        prompt.inputs, prompt.tokens, None, score, (name,), (False,) * count, (False,) * count,
        prompt.decoder_tokens, kind, _likeliest(labels, several, at), notes,
    )  # fmt: skip


def _labels(whole: PreparedModel, count: int) -> tuple[str, ...]:
    """The names of classes; numbers where the config has not as many."""
    labels = head_of(whole.model).labels
    return labels if len(labels) == count else tuple(map(str, range(count)))


def class_number(chosen: object, labels: Sequence[str]) -> int:
    """The number of a class by its name, whatever its capitals, or by its number.

    Raises LigflowError, listing the classes that there are, for any other.
    """
    if isinstance(chosen, str):
        alike = [place for place, label in enumerate(labels) if label.casefold() == chosen.casefold()]
        exact = [place for place in alike if labels[place] == chosen]
        if len(exact or alike) == 1:
            return (exact or alike)[0]
    numeral = str(chosen) if isinstance(chosen, int | str) and not isinstance(chosen, bool) else ""
    if numeral.isdecimal() and int(numeral) < len(labels):
        return int(numeral)
    listed = ", ".join(f"{place} {label}" for place, label in enumerate(labels[:_LISTED]))
    more = f" and {len(labels) - _LISTED} more" if len(labels) > _LISTED else ""
    raise LigflowError(f"There is no class {chosen!r}; there are {listed}{more}.")


def _likeliest(labels: Sequence[str], several: bool, at: int | None) -> Likeliest:
    """The likeliest classes of a run; none where there is one number, which is no probability."""

    def of(outputs: Any, count: int, _row: int) -> tuple[Output, ...]:
        if len(labels) == 1:
            return ()
        logits: Tensor = (outputs.logits[0] if at is None else outputs.logits[0, at]).detach().double()
        top = torch.topk(logits.sigmoid() if several else logits.softmax(-1), min(count, len(labels)))
        pairs = zip(top.indices.tolist(), top.values.tolist(), strict=True)
        return tuple(Output(labels[number], share, number) for number, share in pairs)

    return of


def image_prompt(whole: PreparedModel, inputs: Inputs) -> Prompt:
    """The inputs of a model of images, with its tokens: patches, and what the model puts before them.

    Raises LigflowError for anything but pixels, and where the layers' tokens are not known.
    """
    kind = type(whole.model).__name__
    pixels = inputs.get("pixel_values") if isinstance(inputs, Mapping) else None
    if not isinstance(pixels, Tensor) or pixels.ndim != 4 or len(pixels) != 1:
        raise LigflowError(
            f"{kind} takes images: pass what its processor makes of one, a mapping with pixel_values "
            "[1, channel, height, width]."
        )
    encoded = whole.encode(inputs).inputs
    run = own_run(whole, encoded, None, hidden_states=True)
    states = getattr(run.outputs, "hidden_states", None)
    count = states[0].shape[1] if states and states[0].ndim == 3 else run.embeddings.shape[1]
    return Prompt(encoded, name_tokens(whole.model.config, whole.tokenizer, encoded, count))
