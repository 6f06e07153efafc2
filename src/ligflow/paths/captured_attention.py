"""Attention along a path on which keys and values are at hand, point by point.

For starts that all targets share, and for any start of a layer whose projections have no closed form.
With queries `Q_j(a)`, keys `K_k(a)` and values `V_k(a)` at a point, their derivatives `Q', K', V'` along the
path and a cotangent `g = dL/du_j` (the algebra is that of `ligflow.method.attention`):

    u_j = sum_k p_jk V_k                                p = softmax(cap(scale Q_j . K_k) + bias)
    integrand_k = dL/ds_jk Q_j . K'_k + p_jk g . V'_k   through the source's key and value
    own_j = sum_k dL/ds_jk Q'_j . K_k                   through the target's query
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ligflow.layer.interface import Captured
from ligflow.layer.layer import Layer
from ligflow.method.attention import (
    ScoreTerms,
    Weights,
    attention_output,
    attention_weights,
    query_slope,
    score_gradient,
    source_slope,
)
from ligflow.method.attention_parts import attention_parts
from ligflow.method.baselines import Start, source_paths
from ligflow.paths.batch import BatchRows


@dataclass(frozen=True, eq=False)
class CapturedAttention:
    """Queries of the rows, keys and values of the sources, at points of a path, and their derivatives.

    Batches are (node, sentence) with all rows of the sentence, or (node, row) with that one.
    """

    query: Float[Tensor, "batch head slot dim"]
    key: Float[Tensor, "batch group source dim"]
    value: Float[Tensor, "batch group source value_dim"]
    form: ScoreTerms
    nodes: int
    table: BatchRows | None = None
    query_step: Float[Tensor, "batch head slot dim"] | None = None
    key_step: Float[Tensor, "batch group source dim"] | None = None
    value_step: Float[Tensor, "batch group source value_dim"] | None = None

    def rows(self, batch: Float[Tensor, "batch head slot last"]) -> Float[Tensor, "node row head last"]:
        """From batches to rows."""
        cells = batch.transpose(1, 2).flatten(0, 1).unflatten(0, (self.nodes, -1))
        return cells if self.table is None else self.table.pick(cells)

    def batches(self, rows: Float[Tensor, "node row head last"]) -> Float[Tensor, "batch head slot last"]:
        """From rows to batches."""
        cells = rows if self.table is None else self.table.spread(rows)
        return cells.flatten(0, 1).unflatten(0, (len(self.query), -1)).transpose(1, 2)

    def weights(self) -> Weights:
        """Softmax weights `p_jk` of every source."""
        return attention_weights(self.query, self.key, self.form)

    def u(self, weights: Weights) -> Float[Tensor, "node row head value_dim"]:
        """The output of attention, `u_j = sum_k p_jk V_k`."""
        return self.rows(attention_output(weights, self.value))

    def source_integrands(
        self, weights: Weights, to_u: Float[Tensor, "node row head value_dim"]
    ) -> tuple[Float[Tensor, "node row head source"], Float[Tensor, "node row head"]]:
        """The integrands of the sources through keys and values, and of the row through its query."""
        assert self.query_step is not None
        assert self.key_step is not None
        assert self.value_step is not None
        pull = self.batches(to_u)
        grad = score_gradient(weights, pull, self.value, self.form.scaling)
        slope = source_slope(weights, grad, pull, self.query, self.key_step, self.value_step)
        own = query_slope(grad, self.query_step, self.key)
        return self.rows(slope), self.rows(own[..., None])[..., 0]

    def part_integrands(
        self, weights: Weights, to_u: Float[Tensor, "node row head value_dim"]
    ) -> Float[Tensor, "all node row head source"]:
        """The integrands by value, key and query, and the keys' common move."""
        assert self.query_step is not None
        assert self.key_step is not None
        assert self.value_step is not None
        steps = self.query_step, self.key_step, self.value_step
        pull = self.batches(to_u)
        parts = attention_parts(weights, pull, self.query, self.key, self.value, steps, self.form.scaling)
        return torch.stack([self.rows(part) for part in parts.every])


def captured_attention(
    layer: Layer, start: Start, nodes: Float[Tensor, " node"], rows: Int[Tensor, " row"], moving: bool
) -> CapturedAttention:
    """Attention at points `z_k(a)` of the path by plain capture; if `moving` with `d/da` by forward-mode AD.

    A start that targets share gives one batch a node; one of each target's own, one a (node, row) pair.
    """
    hidden, step = source_paths(start, layer.hidden, nodes.to(layer.hidden), rows)
    if not moving:
        with torch.no_grad():
            captured = layer.capture(hidden)
        query = _rows_of(captured.query, start, rows)
        return CapturedAttention(
            query, captured.key, captured.value, _form(captured, start, rows, len(nodes)), len(nodes)
        )
    path = layer.capture_path(hidden, step)
    captured, form = path.at, _form(path.at, start, rows, len(nodes))
    query, query_step = (_rows_of(q, start, rows) for q in (captured.query, path.query_step))
    return CapturedAttention(
        query,
        captured.key,
        captured.value,
        form,
        len(nodes),
        None,
        query_step,
        path.key_step,
        path.value_step,
    )


def _rows_of(
    query: Float[Tensor, "batch head token dim"], start: Start, rows: Tensor
) -> Float[Tensor, "batch head slot dim"]:
    """The targets' own queries: every path holds all targets, or (`itb`) the one it belongs to."""
    if not start.per_target:
        return query[:, :, rows]
    own = rows.repeat(len(query) // len(rows))
    return query[torch.arange(len(query), device=query.device), :, own][:, :, None]


def _form(captured: Captured, start: Start, rows: Tensor, nodes: int) -> ScoreTerms:
    if captured.form.bias is None:
        return captured.form
    bias = captured.form.bias[:1].expand(-1, -1, captured.query.shape[2], -1)[:, :, rows]
    if start.per_target:
        bias = bias.permute(2, 1, 0, 3).repeat(nodes, 1, 1, 1)
    return replace(captured.form, bias=bias)
