"""What may be asked of the server: fields of requests by their kind, refused by name where they are wrong."""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from ligflow.errors import LigflowError
from ligflow.names import HEAD_BASELINES, LAYER_BASELINES, MLP_BASELINES, TOL
from ligflow.results.tracing import BASELINES as CHAINABLE

TOLS = (1e-5, 0.5)  # a cell beyond the reach of float32 would cost all of its path points
BASELINES: dict[str, tuple[str, ...]] = {
    "att_baseline": tuple(HEAD_BASELINES.values()),
    "mlp_baseline": tuple(MLP_BASELINES.values()),
    "layer_baseline": tuple(LAYER_BASELINES.values()),
}
CHAINED = {name: chosen for name, chosen in CHAINABLE["mean"].items() if name in BASELINES}  # for a trace
_TURNS = 64  # of a chat
_WANTED = {
    "text": 'a string, the text to explain, or the turns of a chat: [{"role": "user", "content": "..."}]',
    "model": "the name of a model, of those at /api/models",
    "tol": f"a number from {TOLS[0]:g} to {TOLS[1]:g}",
    "layers": "a list of whole numbers, or leave it out for all layers",
    "other": "a string, the second text, for a model that reads or compares two",
    "position": "a token of the text or its number, or leave it out",
    "answer": "a string, or a number of those at /api/likeliest; leave it out for what the model says itself",
    "contrast": "a string, or a number of those at /api/likeliest; or leave it out",
    "reference": "neutral, mean, random, or a text (of a chat: turns) of as many tokens",
} | {name: f"one of {', '.join(known)}" for name, known in BASELINES.items()}


class Malformed(LigflowError):
    """A body that is no JSON."""


def _known(names: Sequence[str]) -> Callable[[str], str]:
    def check(name: str) -> str:
        if name not in names:
            raise ValueError(name)
        return name

    return check


class _Fields(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Message(_Fields):
    """A turn of a chat."""

    role: Annotated[str, Field(min_length=1, max_length=40)]
    content: str


Text = str | Annotated[list[Message], Field(min_length=1, max_length=_TURNS)]
Answer = str | Annotated[int, Field(ge=0)]


class FlowRequest(_Fields):
    """One text and how its flow is to be explained; `model` None is the first that is offered."""

    text: Text
    model: str | None = None
    att_baseline: Annotated[str, AfterValidator(_known(BASELINES["att_baseline"]))] = "itb"
    mlp_baseline: Annotated[str, AfterValidator(_known(BASELINES["mlp_baseline"]))] = "att_itb_a0"
    layer_baseline: Annotated[str, AfterValidator(_known(BASELINES["layer_baseline"]))] = "itb"
    tol: Annotated[float, Field(ge=TOLS[0], le=TOLS[1], allow_inf_nan=False)] = TOL
    layers: list[int] | None = None


class LikeliestRequest(_Fields):
    """What a model may say of a text, and of an `other` beside it; `position` is where it says it."""

    text: Text
    model: str | None = None
    other: str | None = None
    position: str | int | None = None


class WhyRequest(_Fields):
    """Why a model says this, as `explain_prediction` takes it, or why two texts are similar."""

    text: Text
    model: str | None = None
    other: str | None = None
    position: str | int | None = None
    answer: Answer | None = None
    contrast: Answer | None = None
    reference: Text = "neutral"


Request = FlowRequest | LikeliestRequest | WhyRequest
Kind = TypeVar("Kind", bound=BaseModel)


def read(kind: type[Kind], body: bytes) -> Kind:
    """The request that a body holds. Raises Malformed, and LigflowError naming the first wrong field."""
    try:
        return kind.model_validate_json(body)
    except ValidationError as problem:
        first = problem.errors(include_url=False, include_context=False)[0]
    if first["type"] == "json_invalid":
        raise Malformed(f'The body is not JSON ({first["msg"]}); send an object such as {{"text": "..."}}.')
    raise LigflowError(_reason(first, [*kind.model_fields]))


def _reason(error: Mapping[str, Any], fields: Sequence[str]) -> str:
    """A clear sentence about one error of pydantic."""
    if not error["loc"]:
        return f'The body is {shown(error["input"])}; send an object such as {{"text": "..."}}.'
    field = str(error["loc"][0])
    if error["type"] == "extra_forbidden" and len(error["loc"]) == 1:
        return f"Unknown field {shown(field)}; the fields are {', '.join(fields)}."
    if error["type"] == "missing" and len(error["loc"]) == 1:
        return f"{field} is missing; give {_WANTED[field]}."
    return f"{field} is {shown(error['input'])}; give {_WANTED[field]}."


def shown(value: object) -> str:
    """What was sent, cut to what a sentence can hold."""
    said = repr(value)
    return said if len(said) <= 60 else f"{said[:57]}..."
