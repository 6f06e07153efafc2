"""Softmax attention [vaswani2017] in closed form: its output, and its derivative along every source's path.

With a gate t_k per source, `u_j(t) = sum_k p_k(t) (V_k + t_k V'_k)` and
`p(t) = softmax(cap(scale q_j . (K_k + t_k K'_k)) + bias)`. For a cotangent `g = dL/du_j`,

    dL/ds_k  = p_k (g . V_k - sum_m p_m g . V_m)          s: scores after the soft cap
    dL/dt_k  = dL/ds_k cap'_k scale q_j . K'_k + p_k g . V'_k
    dL/dt_q  = sum_k dL/ds_k cap'_k scale q'_j . K_k       the target's own query

Grouped key/value heads serve consecutive query heads. A sink is one more logit without a value. No target
depends on another, so that those of a long text go through in blocks.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

_BLOCK = 2**27  # bytes of all tensors by target and source that a block of targets makes
_WEIGHTS = 4  # tensors of scores and weights that a softmax makes on its way


@dataclass(frozen=True, eq=False)
class ScoreTerms:
    """What shapes the scores besides q and K: constants of one layer, the same along every path.

    `by_head` are factors of heads that a layer applies to its products; the queries hold them already.
    """

    scaling: float
    bias: Float[Tensor, "#batch #head target source"] | None = None
    softcap: float | None = None
    sink: Float[Tensor, " head"] | None = None
    by_head: Float[Tensor, "head 1 1"] | None = None

    def of_targets(self, targets: slice) -> "ScoreTerms":
        """Those of some targets."""
        if self.bias is None or self.bias.shape[-2] == 1:
            return self
        return replace(self, bias=self.bias[..., targets, :])


def target_blocks(
    query: Float[Tensor, "batch head target dim"], key: Float[Tensor, "batch group source dim"], tensors: int
) -> Iterator[slice]:
    """Blocks of targets, one at the least, in which `tensors` as large as the weights fit into 128 MiB."""
    batch, heads, targets, _ = query.shape
    each = batch * heads * key.shape[2] * query.element_size() * tensors
    count = max(1, _BLOCK // max(1, each))
    yield from (slice(first, first + count) for first in range(0, targets, count))


@dataclass(frozen=True, eq=False)
class Weights:
    """Attention weights and the slope of the soft cap, `1 - tanh^2`, where there is one."""

    p: Float[Tensor, "batch head target source"]
    slope: Float[Tensor, "batch head target source"] | None


def by_target_blocks(
    query: Float[Tensor, "batch head target dim"],
    key: Float[Tensor, "batch group source dim"],
    compute: Callable[[slice], Float[Tensor, "points head some value_dim"]],
) -> Float[Tensor, "points head target value_dim"]:
    """`compute(targets)` of attention weights, block by block and joined."""
    parts = [compute(targets) for targets in target_blocks(query, key, _WEIGHTS)]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)


def attention_weights(
    query: Float[Tensor, "batch head target dim"],
    key: Float[Tensor, "batch group source dim"],
    form: ScoreTerms,
) -> Weights:
    """`p_jk = softmax_k(S_jk)`: the weight of every source for every target and head (S: see `scores`)."""
    found, slope = scores(query, key, form)
    return Weights(softmax(found, form.sink), slope)


def scores(
    query: Float[Tensor, "batch head target dim"],
    key: Float[Tensor, "batch group source dim"],
    form: ScoreTerms,
) -> tuple[Float[Tensor, "batch head target source"], Float[Tensor, "batch head target source"] | None]:
    """What the softmax takes: `S_jk = c tanh(s q_j . K_k / c) + B_jk`, with scale s, soft cap c, bias B.

    Without a cap `S_jk = s q_j . K_k + B_jk`; with one, its slope `1 - tanh^2` is the second result.
    """
    logits = dot(query, key) * form.scaling
    slope = None
    if form.softcap is not None:
        bent = torch.tanh(logits / form.softcap)
        logits, slope = bent * form.softcap, 1 - bent * bent
    if form.bias is not None:
        logits = logits + form.bias
    return logits, slope


def additive(mask: Tensor | None, query: Float[Tensor, "batch head target dim"]) -> Tensor | None:
    """A mask as a bias B: where truth values are False, `B_jk = -max`, the least number of the type."""
    if mask is None or mask.dtype != torch.bool:
        return mask
    blocked = torch.finfo(query.dtype).min
    return torch.zeros(mask.shape, dtype=query.dtype, device=query.device).masked_fill(~mask, blocked)


def causal_mask(
    query: Float[Tensor, "batch head target dim"], key: Float[Tensor, "batch group source dim"]
) -> Bool[Tensor, "1 1 target source"]:
    """True where `k <= j`: no target sees a later source."""
    allowed = torch.ones(query.shape[2], key.shape[2], dtype=torch.bool, device=query.device).tril()
    return allowed[None, None]


def softmax(
    scores: Float[Tensor, "batch head *rest source"], sink: Float[Tensor, " head"] | None
) -> Float[Tensor, "batch head *rest source"]:
    """`p_k = exp(S_k) / (exp(sink) + sum_i exp(S_i))`: a sink takes part, and has no weight of its own."""
    if sink is None:
        return torch.softmax(scores, dim=-1)
    extra = sink.to(scores).reshape(-1, *[1] * (scores.ndim - 2)).expand(*scores.shape[:-1], 1)
    return torch.softmax(torch.cat([scores, extra], dim=-1), dim=-1)[..., :-1]


def attention_output(
    weights: Weights, value: Float[Tensor, "batch group source value_dim"]
) -> Float[Tensor, "batch head target value_dim"]:
    """`u_j = sum_k p_k V_k`."""
    return spread(weights.p, value)


def source_slope(
    weights: Weights,
    score_grad: Float[Tensor, "batch head target source"],
    pull: Float[Tensor, "batch head target value_dim"],
    query: Float[Tensor, "batch head target dim"],
    key_step: Float[Tensor, "batch group source dim"],
    value_step: Float[Tensor, "batch group source value_dim"],
) -> Float[Tensor, "batch head target source"]:
    """`dL/dt_k`: how L moves as source k alone moves along its path, through its key and value."""
    return score_grad * dot(query, key_step) + weights.p * dot(pull, value_step)


def query_slope(
    score_grad: Float[Tensor, "batch head target source"],
    query_step: Float[Tensor, "batch head target dim"],
    key: Float[Tensor, "batch group source dim"],
) -> Float[Tensor, "batch head target"]:
    """`dL/dt_q`: how L moves as the target's query moves along its path."""
    return (spread(score_grad, key) * query_step).sum(-1)


def score_gradient(
    weights: Weights,
    pull: Float[Tensor, "batch head target value_dim"],
    value: Float[Tensor, "batch group source value_dim"],
    scaling: float,
) -> Float[Tensor, "batch head target source"]:
    """`dL/d(q . K_k)` for a cotangent `pull = dL/du`, through the softmax, the cap and the scale."""
    worth = dot(pull, value)
    grad = weights.p * (worth - (weights.p * worth).sum(-1, keepdim=True)) * scaling
    return grad if weights.slope is None else grad * weights.slope


def dot(
    rows: Float[Tensor, "batch head target dim"], columns: Float[Tensor, "batch group source dim"]
) -> Float[Tensor, "batch head target source"]:
    """Scores `<x_j, y_k>`, groups of columns serving consecutive heads."""
    batch, heads, targets, _ = rows.shape
    grouped = _by_group(rows, columns.shape[1])
    return (grouped @ columns.transpose(-1, -2)).reshape(batch, heads, targets, -1)


def spread(
    rows: Float[Tensor, "batch head target source"], columns: Float[Tensor, "batch group source dim"]
) -> Float[Tensor, "batch head target dim"]:
    """Weighted sums `u_j = sum_k p_jk y_k`, groups of columns serving consecutive heads."""
    batch, heads, targets, _ = rows.shape
    return (_by_group(rows, columns.shape[1]) @ columns).reshape(batch, heads, targets, -1)


def _by_group(rows: Tensor, groups: int) -> Tensor:
    batch, heads, targets, width = rows.shape
    return rows.reshape(batch, groups, heads // groups * targets, width)
