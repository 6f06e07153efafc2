"""One map of a flow, picked for showing: its values, what its columns are, and its title."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from ligflow import names
from ligflow.errors import LigflowError
from ligflow.inputs.labels import told_apart
from ligflow.method.composition import shared_out
from ligflow.names import NEEDS
from ligflow.results.flow_data import FlowData

VIEWS = tuple(names.VIEWS.values())


def available(flow: FlowData) -> list[str]:
    """The views that the flow's routes allow: through the heads, direct, parts, and the product rule last."""
    return [view for view in VIEWS if NEEDS[view] <= set(flow.routes)]


def select(
    flow: FlowData, view: str, layer: int, head: int | None
) -> tuple[Float[Tensor, "target column"], list[str], str]:
    """One map of one layer, what its columns are, and its title."""
    row = flow.row(layer)
    values = every_layer(flow, view, head)[row]
    return values, columns(flow, view), f"Layer {layer}: {names.title(view, head)}"


def every_layer(flow: FlowData, view: str, head: int | None) -> Float[Tensor, "layer target column"]:
    """One map of all layers; the columns of `u2z` are the heads and the residual."""
    if view == "z2z":
        return flow.z2z
    if view in ("conserving", "product"):
        return flow.composed(view)
    if view == "u2z":
        return torch.cat([flow.u2z.transpose(1, 2), flow.u2z_residual[..., None]], dim=-1)
    if view != "z2u":
        raise LigflowError(f"Unknown view {view!r}; choose from {', '.join(VIEWS)}.")
    if head is None:
        return flow.z2u.sum(dim=1)
    if not 0 <= head < flow.heads:
        raise LigflowError(
            f"There is no head {head}: there are {flow.heads}, numbered 0 to {flow.heads - 1}."
        )
    return flow.z2u[:, head]


def columns(flow: FlowData, view: str) -> list[str]:
    """What the columns of a map are called."""
    if view == "u2z":
        return [f"h{head}" for head in range(flow.heads)] + ["res"]
    return told_apart(flow.tokens)


def row_shares(values: Float[Tensor, "*row column"]) -> Float[Tensor, "*row column"]:
    """Values over the sum of their row's magnitudes, so that signs stay and no row is divided by 0."""
    return normalize(values, p=1.0, dim=-1, eps=torch.finfo(values.dtype).tiny)


def knows_heads(flow: FlowData) -> bool:
    """Whether what passes through single heads is known: of tokens, not of words, which are means of rows."""
    return {"z2u", "u2z"} <= {*flow.routes} and "merged" not in flow.meta


def by_head(flow: FlowData, layer: int, targets: Sequence[int]) -> Float[Tensor, "middle target source"]:
    """What passes through each head, and last the residual with heads that did not move.

    Through head h from source i to target j: `A_ijh / sum_k A_kjh * M_hj`, whose sum over h and the residual
    is the conserving map. `targets` are rows of the flow.
    """
    at, rows = slice(flow.row(layer), flow.row(layer) + 1), list(targets)
    z2u, u2z, residual = flow.z2u[at][:, :, rows], flow.u2z[at][:, :, rows], flow.u2z_residual[at][:, rows]
    floor = flow.tensors["z2u.floor"][at][..., None].expand_as(u2z)
    whole = z2u.sum(-1) + flow.hidden("z2u")[at][:, :, rows]  # hidden sources keep what they hold
    shares, kept = shared_out(z2u, u2z, residual, whole, floor)
    own = torch.zeros_like(z2u[0, 0])
    own[list(range(len(rows))), [flow.targets[row] for row in rows]] = kept[0]
    return torch.cat([shares[0] * u2z[0, ..., None], own[None]])
