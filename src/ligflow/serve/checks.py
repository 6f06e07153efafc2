"""Whether a request is small enough, and for a model that is offered, before it waits in the queue."""

from collections.abc import Iterator, Mapping

from ligflow.errors import LigflowError
from ligflow.serve.limits import Limits
from ligflow.serve.offered import NEEDED, SECOND, Offered
from ligflow.serve.request import FlowRequest, Request, Text, WhyRequest, shown


def check(request: Request, models: Mapping[str, Offered], limits: Limits) -> Offered:
    """The model that is to compute it. Raises LigflowError for what is too long, or not offered."""
    if isinstance(request.text, str) and not request.text.strip():
        raise LigflowError("The text is empty or blank; give at least one word.")
    if (
        isinstance(request, WhyRequest)
        and isinstance(request.reference, str)
        and not request.reference.strip()
    ):
        raise LigflowError("The reference is blank; give neutral, mean, random, or a text of as many tokens.")
    length = max(sum(map(len, _texts(request))), sum(map(len, _reference(request))))
    if length > limits.characters:
        raise LigflowError(
            f"The text has {length} characters, and this server takes {limits.characters}; shorten it."
        )
    if request.model is not None and request.model not in models:
        raise LigflowError(f"Model {shown(request.model)} is not offered; choose from {', '.join(models)}.")
    model = next(iter(models.values())) if request.model is None else models[request.model]
    if isinstance(request, FlowRequest):
        _check_layers(request.layers, model)
    else:
        _check_texts(request.text, request.other, model)
        if isinstance(request, WhyRequest) and model.kind == "none":
            _check_compared(request, model)
    count = model.count(request.text) + sum(model.count(text) for text in _besides(request))
    if count > model.tokens:
        raise LigflowError(
            f"The text has {count} tokens with {model.name}, and this server takes {model.tokens}; cut it."
        )
    return model


def _texts(request: Request) -> Iterator[str]:
    """All that a request says, but for its reference."""
    yield from _said(request.text)
    yield from _besides(request)
    if isinstance(request, WhyRequest) and isinstance(request.contrast, str):
        yield request.contrast
    if not isinstance(request, FlowRequest) and isinstance(request.position, str):
        yield request.position


def _reference(request: Request) -> Iterator[str]:
    """What stands for the text in the reference run."""
    if isinstance(request, WhyRequest):
        yield from _said(request.reference)


def _said(text: Text) -> Iterator[str]:
    if isinstance(text, str):
        yield text
    else:
        yield from (turn.content for turn in text)


def _besides(request: Request) -> Iterator[str]:
    """What is read behind or beside the text."""
    if not isinstance(request, FlowRequest) and request.other is not None:
        yield request.other
    if isinstance(request, WhyRequest) and isinstance(request.answer, str):
        yield request.answer


def _check_texts(text: Text, other: str | None, model: Offered) -> None:
    """Raises LigflowError for a second text, or a chat, that the model does not take."""
    if other is not None and not other.strip():
        raise LigflowError("The second text (other) is empty or blank; give at least one word.")
    if other is None and model.kind in NEEDED:
        raise LigflowError(f"{model.says()} Give the second text too (other).")
    if other is not None and model.kind not in SECOND:
        raise LigflowError(f"{model.name} reads one text; leave the second one out (other).")
    if other is not None and not isinstance(text, str):
        raise LigflowError("A chat has no second text beside it; leave it out (other).")


def _check_compared(request: WhyRequest, model: Offered) -> None:
    """Raises LigflowError for what says nothing of a similarity."""
    for name in ("answer", "contrast", "position"):
        if getattr(request, name) is not None:
            raise LigflowError(f"{model.says()} Leave out {name}.")


def _check_layers(layers: list[int] | None, model: Offered) -> None:
    if layers is None:
        return
    if not layers or len({*layers}) < len(layers):
        raise LigflowError("layers is empty or names a layer twice; give each once, or leave it out for all.")
    for layer in layers:
        if not 0 <= layer < model.layers:
            raise LigflowError(
                f"There is no layer {shown(layer)} in {model.name}; they go from 0 to {model.layers - 1}."
            )
