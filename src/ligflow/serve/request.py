"""What may be asked of the server: the fields of a request, and the limits that keep one small."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from ligflow.errors import LigflowError
from ligflow.explainer.explainer import Explainer
from ligflow.inputs.tokens import position_limit
from ligflow.names import HEAD_BASELINES, LAYER_BASELINES, MLP_BASELINES, TOL
from ligflow.results.tracing import BASELINES as CHAINABLE
from ligflow.settings import ROUTES

TOLS = (1e-5, 0.5)  # a cell beyond the reach of float32 would cost all of its path points
BASELINES: dict[str, tuple[str, ...]] = {
    "att_baseline": tuple(HEAD_BASELINES.values()),
    "mlp_baseline": tuple(MLP_BASELINES.values()),
    "layer_baseline": tuple(LAYER_BASELINES.values()),
}
CHAINED = {name: chosen for name, chosen in CHAINABLE["mean"].items() if name in BASELINES}  # for a trace
_BODY = 64 * 1024
_ESCAPED = 12  # bytes of one character at most: two \uXXXX
_WANTED = {
    "text": "a string, the text to explain",
    "model": "the name of a model, of those at /api/models",
    "tol": f"a number from {TOLS[0]:g} to {TOLS[1]:g}",
    "layers": "a list of whole numbers, or leave it out for all layers",
} | {name: f"one of {', '.join(known)}" for name, known in BASELINES.items()}


class Malformed(LigflowError):
    """A body that is no JSON."""


@dataclass(frozen=True)
class Limits:
    """The most that one request, and all that wait, may take."""

    characters: int = 2000
    tokens: int = 256
    queue: int = 64
    keep: int = 32

    @property
    def body(self) -> int:
        """Bytes of a request: enough for a text of `characters`, however it is escaped."""
        return max(_BODY, _ESCAPED * self.characters + 4096)


def _known(names: Sequence[str]) -> Callable[[str], str]:
    def check(name: str) -> str:
        if name not in names:
            raise ValueError(name)
        return name

    return check


class Ask(BaseModel):
    """One text and how it is to be explained; `model` None is the first that is offered."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    text: str
    model: str | None = None
    att_baseline: Annotated[str, AfterValidator(_known(BASELINES["att_baseline"]))] = "itb"
    mlp_baseline: Annotated[str, AfterValidator(_known(BASELINES["mlp_baseline"]))] = "att_itb_a0"
    layer_baseline: Annotated[str, AfterValidator(_known(BASELINES["layer_baseline"]))] = "itb"
    tol: Annotated[float, Field(ge=TOLS[0], le=TOLS[1], allow_inf_nan=False)] = TOL
    layers: list[int] | None = None


@dataclass(frozen=True, eq=False)
class Offered:
    """A model that the server has loaded. `tokenizer` is a copy: the model's own is in use in the worker."""

    name: str
    explainer: Explainer
    tokenizer: Any
    layers: int
    heads: int
    tokens: int

    @classmethod
    def of(cls, explainer: Explainer, limits: Limits) -> "Offered":
        """Takes one run of the model. Raises LigflowError for a model without a tokenizer."""
        if explainer.tokenizer is None:
            raise LigflowError(
                f"{explainer.name} has no tokenizer, and the server explains text; serve a model of text."
            )
        layers, heads = explainer.prepared.size("ligflow")
        most = position_limit(explainer.model, explainer.tokenizer) or limits.tokens
        counter = copy.deepcopy(explainer.tokenizer)
        return cls(explainer.name, explainer, counter, layers, heads, min(most, limits.tokens))

    @property
    def routes(self) -> tuple[str, ...]:
        """Layers that cannot be split into heads are explained whole."""
        return ROUTES if self.heads else ("z2z",)

    def describe(self) -> dict[str, Any]:
        """As /api/models shows it."""
        sizes = {"layers": self.layers, "heads": self.heads, "tokens": self.tokens}
        return {"name": self.name, "routes": self.routes, "baselines": BASELINES} | sizes

    def count(self, text: str) -> int:
        """Tokens of a text, special ones included."""
        return len(self.tokenizer(text, padding=False, truncation=False, verbose=False)["input_ids"])


def read(body: bytes) -> Ask:
    """The request that a body holds. Raises Malformed, and LigflowError naming the first wrong field."""
    try:
        return Ask.model_validate_json(body)
    except ValidationError as problem:
        first = problem.errors(include_url=False, include_context=False)[0]
    if first["type"] == "json_invalid":
        raise Malformed(f'The body is not JSON ({first["msg"]}); send an object such as {{"text": "..."}}.')
    raise LigflowError(_reason(first))


def check(ask: Ask, models: Mapping[str, Offered], limits: Limits) -> Offered:
    """The model that is to compute it. Raises LigflowError for what is too long, or not offered."""
    if not ask.text.strip():
        raise LigflowError("The text is empty or blank; give at least one word.")
    if len(ask.text) > limits.characters:
        raise LigflowError(
            f"The text has {len(ask.text)} characters, and this server takes {limits.characters}; shorten it."
        )
    if ask.model is not None and ask.model not in models:
        raise LigflowError(f"Model {_shown(ask.model)} is not offered; choose from {', '.join(models)}.")
    model = next(iter(models.values())) if ask.model is None else models[ask.model]
    _check_layers(ask.layers, model)
    count = model.count(ask.text)
    if count > model.tokens:
        raise LigflowError(
            f"The text has {count} tokens with {model.name}, and this server takes {model.tokens}; cut it."
        )
    return model


def _check_layers(layers: list[int] | None, model: Offered) -> None:
    if layers is None:
        return
    if not layers or len({*layers}) < len(layers):
        raise LigflowError("layers is empty or names a layer twice; give each once, or leave it out for all.")
    for layer in layers:
        if not 0 <= layer < model.layers:
            raise LigflowError(
                f"There is no layer {_shown(layer)} in {model.name}; they go from 0 to {model.layers - 1}."
            )


def _reason(error: Mapping[str, Any]) -> str:
    """A clear sentence about one error of pydantic."""
    if not error["loc"]:
        return f'The body is {_shown(error["input"])}; send an object such as {{"text": "..."}}.'
    field = str(error["loc"][0])
    if error["type"] == "extra_forbidden":
        return f"Unknown field {_shown(field)}; the fields are {', '.join(Ask.model_fields)}."
    if error["type"] == "missing":
        return f"{field} is missing; give {_WANTED[field]}."
    return f"{field} is {_shown(error['input'])}; give {_WANTED[field]}."


def _shown(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
