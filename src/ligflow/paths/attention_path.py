"""Attention along the paths of one baseline: u of every row at every point, and its derivatives.

Three ways, from the same definitions: plain capture at every point; the closed form of projections (see
`ligflow.method.norm_affine`) for starts that all targets share; and that for paths that start at the target's
own vector (`itb`).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ligflow.method.baselines import Start
from ligflow.method.norm_affine import NormAffine, of_each, on_path
from ligflow.paths.batch import BatchRows, LayerBatch
from ligflow.paths.batch_projections import project, turned_keys
from ligflow.paths.captured_attention import CapturedAttention, captured_attention
from ligflow.paths.per_target import PerTargetAttention

U = Float[Tensor, "node row head value_dim"]
SourceIntegrands = Callable[
    [U], tuple[Float[Tensor, "node row head source"], Float[Tensor, "node row head"] | None]
]


@dataclass(frozen=True, eq=False)
class AttentionOnPath:
    """u at points of the path and, for a cotangent `dL/du`, the integrands of the sources.

    The second part of `source_integrands` is the integrand of the row's own query; None where that stays.
    `part_integrands` are value, key, query and the keys' common move of each (`method.attention_parts`).
    """

    u: U
    source_integrands: SourceIntegrands
    part_integrands: Callable[[U], Float[Tensor, "all node row head source"]]


@dataclass(frozen=True, eq=False)
class AttentionPath:
    """Attention of sentences along the paths from `start`; `cost` is the numbers a (node, row) keeps."""

    batch: LayerBatch
    start: Start
    at: Callable[[Float[Tensor, " node"], Int[Tensor, " row"]], U]
    moving: Callable[[Float[Tensor, " node"], Int[Tensor, " row"]], AttentionOnPath]
    heads: int
    cost: int


def attention_path(batch: LayerBatch, start: Start) -> AttentionPath:
    """Attention along the paths from a start, in the fastest way that the layer allows."""
    if batch.layers[0].findings.closed_form is None:
        return _by_capture(batch, start)
    return (_from_own if start.per_target else _from_shared)(batch, start)


def _by_capture(batch: LayerBatch, start: Start) -> AttentionPath:
    (layer,) = batch.layers

    def at(nodes: Tensor, rows: Tensor) -> U:
        attention = captured_attention(layer, start, nodes, rows, moving=False)
        return attention.u(attention.weights())

    def moving(nodes: Tensor, rows: Tensor) -> AttentionOnPath:
        return _moving(captured_attention(layer, start, nodes, rows, moving=True))

    tokens, dim = layer.hidden.shape
    with torch.no_grad():
        heads = layer.capture(layer.hidden[None]).query.shape[1]
    cost = tokens * dim * (16 if start.per_target else 1) + 8 * tokens * heads
    return AttentionPath(batch, start, at, moving, heads, cost)


def _moving(attention: CapturedAttention) -> AttentionOnPath:
    weights = attention.weights()
    return AttentionOnPath(
        attention.u(weights),
        lambda to_u: attention.source_integrands(weights, to_u),
        lambda to_u: attention.part_integrands(weights, to_u),
    )


# --- in closed form -------------------------------------------------------------------------------


def _from_shared(batch: LayerBatch, start: Start) -> AttentionPath:
    """Every source moves from its own `start.vectors`, whatever the target."""
    projected = project(batch, torch.stack([start.vectors, batch.z]))

    def attention_at(nodes: Tensor, rows: Tensor) -> CapturedAttention:
        table = batch.table(rows)
        moved = {
            part: on_path(*_ends(projection, table), nodes.to(batch.z))
            for part, projection in projected.norm_affine.items()
        }
        (query, query_step), (key, key_step), (value, value_step) = (
            (value.flatten(0, 1), step.flatten(0, 1)) for value, step in moved.values()
        )
        one_row = BatchRows(
            torch.arange(len(query), device=rows.device),
            table.columns.repeat(len(nodes), 1),
            None,
            table.every,
        )
        bias = projected.form.bias
        form = replace(
            projected.form, bias=None if bias is None else table.of(bias).repeat(len(nodes), 1, 1, 1)
        )
        return CapturedAttention(
            one_row.of(query),
            key,
            value,
            form,
            len(nodes),
            table,
            one_row.of(query_step),
            key_step,
            value_step,
        )

    def at(nodes: Tensor, rows: Tensor) -> U:
        attention = attention_at(nodes, rows)
        return attention.u(attention.weights())

    def moving(nodes: Tensor, rows: Tensor) -> AttentionOnPath:
        return _moving(attention_at(nodes, rows))

    heads = projected.query.shape[1]
    cost = 10 * heads * batch.tokens + 20 * batch.z.shape[1]
    return AttentionPath(batch, start, at, moving, heads, cost)


def _ends(projection: NormAffine, table: BatchRows) -> tuple[NormAffine, NormAffine]:
    """A projection at the start and at the real input, of some of the sentences."""
    offset = None if projection.offset is None else table.of_sentences(projection.offset)[:, 0]
    bare = replace(projection, offset=None)
    first = of_each(bare, lambda part: table.of_sentences(part)[:, 0])
    return first, replace(of_each(bare, lambda part: table.of_sentences(part)[:, 1]), offset=offset)


def _from_own(batch: LayerBatch, start: Start) -> AttentionPath:
    """Every source moves from the target's own vector."""
    projected = project(batch, batch.z[None])
    key, value = (of_each(projected.norm_affine[name], lambda part: part[:, 0]) for name in ("key", "value"))
    own = PerTargetAttention(projected.query, key, value, turned_keys(batch, key.numerator), projected.form)

    def at(nodes: Tensor, rows: Tensor) -> U:
        block = own.block(nodes, batch.table(rows))
        return block.u(block.weights()[0])

    def moving(nodes: Tensor, rows: Tensor) -> AttentionOnPath:
        block = own.block(nodes, batch.table(rows))
        p, slope = block.weights()
        return AttentionOnPath(
            block.u(p),
            lambda to_u: (block.source_integrands(p, slope, to_u), None),
            lambda to_u: block.part_integrands(p, slope, to_u),
        )

    heads = own.query.shape[1]
    cost = 12 * heads * batch.tokens + 4 * batch.z.shape[1]
    return AttentionPath(batch, start, at, moving, heads, cost)
