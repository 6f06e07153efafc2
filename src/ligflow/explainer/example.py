"""One example, ready to be explained: its tokens, and the rows asked about."""

from dataclasses import dataclass

from torch import Tensor

from ligflow.errors import UnsupportedModel
from ligflow.explainer.placement import Placement
from ligflow.inputs.tokens import Tokens
from ligflow.layer.layer import Layer
from ligflow.routes.attribution import Attribution
from ligflow.routes.workspace import Selection as LayerTokens

Results = list[dict[str, Attribution]]  # of one example: for each layer, every route


@dataclass(frozen=True, eq=False)
class Example:
    """`place` holds the same rows as positions among all tokens of the layers, padding included.

    `memory` are the tokens of the encoder that the layers attend to, if they do.
    """

    tokens: Tokens
    rows: list[int]
    layers: list[Layer]
    place: LayerTokens
    notes: list[str]
    places: Placement
    memory: Tokens | None = None


def shown(tokens: Tokens, visible: Tensor) -> Tokens:
    """The tokens without padding."""
    if len(visible) == len(tokens.labels):
        return tokens
    keep = visible.tolist()
    labels, special = (tuple(of[i] for i in keep) for of in (tokens.labels, tokens.special))
    return Tokens(labels, special, notes=tokens.notes)


def splittable(layers: list[Layer], asked: bool, routes: tuple[str, ...]) -> tuple[list[Layer], list[str]]:
    """The layers to explain; those not asked for by number are left out, with a note, where they refuse."""
    refused = [layer for layer in layers if layer.mode == "whole"] if set(routes) != {"z2z"} else []
    if refused and (asked or len(refused) == len(layers)):
        first = refused[0]
        raise UnsupportedModel(
            f"Layer {first.index} ({type(first.module).__name__}) offers no z2u and u2z: "
            f"{first.findings.reason}. z2z is available: routes=('z2z',)."
        )
    notes = [f"layer {layer.index} left out: {layer.findings.reason}" for layer in refused]
    return [layer for layer in layers if layer not in refused], notes
