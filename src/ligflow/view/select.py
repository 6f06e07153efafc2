"""One map of a flow, picked for showing: its values, what its columns are, and its title."""

import torch
from jaxtyping import Float
from torch import Tensor

from ligflow.errors import LigflowError
from ligflow.flow import Flow

VIEWS = ("z2z", "conserving", "product", "z2u", "u2z")
NEEDS = {
    "z2z": {"z2z"},
    "conserving": {"z2u", "u2z"},
    "product": {"z2u", "u2z"},
    "z2u": {"z2u"},
    "u2z": {"u2z"},
}


def available(flow: Flow) -> list[str]:
    """The views that the flow's routes allow, direct before composed before parts."""
    return [view for view in VIEWS if NEEDS[view] <= set(flow.routes)]


def select(
    flow: Flow, view: str, layer: int, head: int | None
) -> tuple[Float[Tensor, "target column"], list[str], str]:
    """One map of one layer, what its columns are, and its title."""
    row, where = flow.row(layer), f"layer {layer}"
    sources = [printable(token) for token in flow.tokens]
    if view == "z2z":
        return flow.z2z[row], sources, f"z2z (direct), {where}"
    if view in ("conserving", "product"):
        return flow.composed(view)[row], sources, f"composed ({view}), {where}"
    if view == "u2z":
        players = torch.cat([flow.u2z[row], flow.u2z_residual[row][None]]).T
        return players, [f"h{h}" for h in range(flow.heads)] + ["res"], f"u2z, {where}: heads and residual"
    if view != "z2u":
        raise LigflowError(f"Unknown view {view!r}; choose from {', '.join(VIEWS)}.")
    if head is None:
        return flow.z2u[row].sum(dim=0), sources, f"z2u, {where}, sum of the heads"
    if not 0 <= head < flow.heads:
        raise LigflowError(
            f"There is no head {head}: there are {flow.heads}, numbered 0 to {flow.heads - 1}."
        )
    return flow.z2u[row, head], sources, f"z2u, {where}, head {head}"


def row_shares(values: Float[Tensor, "target column"]) -> Float[Tensor, "target column"]:
    """Values over the sum of their row's magnitudes, so that signs stay and no row is divided by 0."""
    size = values.abs().sum(-1, keepdim=True)
    return values / torch.where(size > 0, size, 1)


def printable(token: str) -> str:
    """Control characters as escapes, so that a token cannot steer the terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in token)
