"""What a layer does with its attention output: `z'_j = f_j(z_j, u_j)` of (node, row) pairs, and the way back.

After attention tokens are alone, so pairs of any sentences can be replayed side by side. A layer that
knows the positions of its tokens gets each pair in the token's own column.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ligflow.layer.experts import holding
from ligflow.layer.interface import Captured, plain
from ligflow.layer.mlp import switched
from ligflow.paths.batch import LayerBatch
from ligflow.paths.cross_attention import GivenCrossAttention, MovingCrossAttention

Cotangent = Callable[[Float[Tensor, "node row scalar dim"]], Float[Tensor, "node row scalar dim"]]
Slopes = tuple[Float[Tensor, "node row dim"] | None, list[Tensor]]  # dL/dz_j, and dL/du_j of attentions


def finish(
    batch: LayerBatch,
    hidden: Float[Tensor, "node row dim"],
    u: Float[Tensor, "node row head value_dim"],
    rows: Int[Tensor, " row"],
    second: Callable[[Captured], Tensor] = plain,
) -> Float[Tensor, "node row one dim"]:
    """`z'_j = f_j(z_j, u_j)` of every pair. `second` is the second attention of a decoder's layer, if any."""
    layer = batch.host
    if layer.findings.positionwise:
        pairs = _packed(batch, hidden.flatten(0, 1), u.flatten(0, 1), rows.repeat(len(hidden)))
        return pairs.unflatten(0, hidden.shape[:2])[:, :, None]
    tokens = len(layer.hidden)
    if len(rows) == tokens:
        whole, parts = hidden, u
    else:
        whole = layer.hidden.expand(len(hidden), -1, -1).index_copy(1, rows, hidden)
        parts = u.new_zeros(len(u), tokens, *u.shape[2:]).index_copy(1, rows, u)
    with holding(batch.held, torch.arange(tokens, device=rows.device).repeat(len(hidden))):
        return layer.finish(whole, parts, second)[:, rows][:, :, None]


def _packed(
    batch: LayerBatch,
    hidden: Float[Tensor, "pair dim"],
    u: Float[Tensor, "pair head value_dim"],
    rows: Int[Tensor, " pair"],
) -> Float[Tensor, "pair dim"]:
    """Pairs as the tokens of as many sequences as it takes; the last one is filled up with copies.

    Where they are few, of one that is shorter, if the layer takes it.
    """
    layer = batch.host
    pairs, tokens = len(hidden), len(layer.hidden)
    tokens = min(pairs, tokens) if layer.findings.any_length else tokens
    more = -pairs % tokens
    if more:
        hidden = torch.cat([hidden, hidden[-1:].expand(more, -1)])
        u = torch.cat([u, u[-1:].expand(more, -1, -1)])
        rows = torch.cat([rows, rows[-1:].expand(more)])
    with holding(batch.held, rows):
        outputs = layer.finish(hidden.unflatten(0, (-1, tokens)), u.unflatten(0, (-1, tokens)))
    return outputs.flatten(0, 1)[:pairs]


def pull_back(
    batch: LayerBatch,
    hidden: Float[Tensor, "node row dim"],
    u: Float[Tensor, "node row head value_dim"],
    rows: Int[Tensor, " row"],
    towards: Cotangent,
    moves: bool,
    second: MovingCrossAttention | GivenCrossAttention | None = None,
) -> Slopes:
    """`dL/dz_j` (all but attention; None unless z_j moves) and `dL/du_j`: one forward, one backward.

    With a second attention `dL/du` of that follows, in the shape of `second.u`.
    """
    leaves, hidden = _leaves(hidden, u, moves)
    with torch.enable_grad():
        image = finish(batch, hidden, leaves[0], rows, second or plain)
    ends = [*leaves, *_inner(second)]
    slopes = torch.autograd.grad(image, ends, towards(image.detach()), materialize_grads=True)
    return _sorted(slopes, len(leaves))


def pull_back_by_mlp(
    batch: LayerBatch,
    hidden: Float[Tensor, "node row dim"],
    u: Float[Tensor, "node row head value_dim"],
    rows: Int[Tensor, " row"],
    towards: Cotangent,
    moves: bool,
    mlp: Sequence[nn.Module],
    second: MovingCrossAttention | None = None,
) -> tuple[Slopes, Slopes]:
    """The same in two parts, what passes through the modules of the MLP and what passes beside them.

    One forward, one backward, and one more that ends where the MLP begins.
    """
    leaves, hidden = _leaves(hidden, u, moves)
    with torch.enable_grad(), switched(mlp) as switch:
        image = finish(batch, hidden, leaves[0], rows, second or plain)
    ends, cotangent = [*leaves, *_inner(second)], towards(image.detach())
    whole = torch.autograd.grad(image, ends, cotangent, materialize_grads=True, retain_graph=True)
    switch.open = False
    beside = torch.autograd.grad(image, ends, cotangent, materialize_grads=True)
    through = [both - part for both, part in zip(whole, beside, strict=True)]
    return _sorted(through, len(leaves)), _sorted(beside, len(leaves))


def _leaves(hidden: Tensor, u: Tensor, moves: bool) -> tuple[list[Tensor], Tensor]:
    """What gradients are taken of, u and the hidden states if they move, and the hidden states."""
    leaves = [u.detach().requires_grad_()]
    if moves:
        hidden = hidden.detach().requires_grad_()
        leaves.append(hidden)
    return leaves, hidden


def _inner(second: MovingCrossAttention | GivenCrossAttention | None) -> list[Tensor]:
    return [] if second is None or second.u is None else [second.u]


def _sorted(slopes: Sequence[Tensor], leaves: int) -> Slopes:
    """The slopes of `[u, hidden if it moves, u of a second attention]`, as they are handed back."""
    return (slopes[1] if leaves > 1 else None), [slopes[0], *slopes[leaves:]]


@dataclass(frozen=True, eq=False)
class Players:
    """Where the players of u2z start and end: the heads of the attention, and of a second one if there is.

    The residual stays at z_j where it has no start.
    """

    start: Float[Tensor, "row head value_dim"]
    end: Float[Tensor, "row head value_dim"]
    residual_start: Float[Tensor, "row dim"] | None = None
    second_start: Float[Tensor, "row cross_head cross_dim"] | None = None
    second_end: Float[Tensor, "row cross_head cross_dim"] | None = None
