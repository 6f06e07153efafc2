"""The maps of a flow as bertviz takes attention: one tensor a layer, and the tokens."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from ligflow.errors import LigflowError
from ligflow.names import VIEWS
from ligflow.results.flow_data import FlowData


def bertviz_input(flow: FlowData, view: str) -> dict[str, Any]:
    """The arguments `attention` and `tokens`; sizes of shares, `|A| / Σ |A|`, for each target.

    Maps without heads have one; a token that is no target of the flow has a row of zeros. bertviz numbers
    layers from 0, and these are the flow's, in order. Of a decoder with an encoder its own tokens are shown.
    Raises LigflowError for a view that there is not.
    """
    if view not in VIEWS or VIEWS[view] == "u2z":
        known = ", ".join(name for name, map_name in VIEWS.items() if map_name != "u2z")
        raise LigflowError(f"Unknown view {view!r}; bertviz draws tokens to tokens: choose from {known}.")
    if VIEWS[view] == "z2u":
        maps = flow.z2u
    else:
        maps = (flow.z2z if VIEWS[view] == "z2z" else flow.composed(VIEWS[view]))[:, None]
    return {"attention": [_square(flow, layer)[None] for layer in maps], "tokens": list(flow.tokens)}


def _square(flow: FlowData, maps: Float[Tensor, "head target source"]) -> Float[Tensor, "head source source"]:
    """Shares with a row for every token."""
    rows = torch.zeros(len(maps), len(flow.tokens), len(flow.tokens))
    rows[:, list(flow.targets)] = normalize(maps.abs().float(), p=1.0, dim=-1)
    return rows
