"""One example, ready to be explained: its tokens, its layers, and which of both are asked about."""

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from ligflow.errors import UnsupportedModel
from ligflow.explainer.placement import Placement
from ligflow.inputs.tokens import Tokens
from ligflow.layer.layer import Layer
from ligflow.routes.attribution import Attribution
from ligflow.routes.workspace import Selection

Results = list[dict[str, Attribution]]  # of one example: for each layer, every route


@dataclass(frozen=True, eq=False)
class Example:
    """The layers of one run of a model, and the tokens that are shown.

    `targets` are positions among the tokens shown; `selection` holds them as rows of the layers, which may
    have padding besides. `encoder_tokens` are those of the encoder that the layers attend to, if they do.
    `about` is what a flow says of the model.
    """

    tokens: Tokens
    targets: list[int]
    layers: list[Layer]
    selection: Selection
    notes: list[str]
    placement: Placement
    encoder_tokens: Tokens | None = None
    about: dict[str, Any] = field(default_factory=dict)


def shown(tokens: Tokens, visible: Tensor) -> Tokens:
    """The tokens without padding."""
    if len(visible) == len(tokens.labels):
        return tokens
    keep = visible.tolist()
    labels, special = (tuple(of[i] for i in keep) for of in (tokens.labels, tokens.special))
    return Tokens(labels, special, notes=tokens.notes)


def splittable(layers: list[Layer], chosen: bool, routes: tuple[str, ...]) -> tuple[list[Layer], list[str]]:
    """The layers to explain, and notes: those that refuse are left out, unless `chosen` by number."""
    refused = [layer for layer in layers if layer.mode == "whole"] if set(routes) != {"z2z"} else []
    if refused and (chosen or len(refused) == len(layers)):
        first = refused[0]
        raise UnsupportedModel(
            f"Layer {first.index} ({type(first.module).__name__}) offers no z2u and u2z: "
            f"{first.findings.reason}. z2z is available: routes=('z2z',)."
        )
    notes = [f"layer {layer.index} left out: {layer.findings.reason}" for layer in refused]
    return [layer for layer in layers if layer not in refused], notes
