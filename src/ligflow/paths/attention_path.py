"""Attention along the paths of one baseline: u of every row at every point, and its derivatives.

Three ways, from the same definitions: plain capture at every point; the closed form of rays for
starts that all targets share; and that for paths that start at the target's own vector (`itb`).
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
from ligflow.paths.captured import CapturedAttention, captured_streams
from ligflow.paths.per_target import PerTargetAttention

U = Float[Tensor, "node row head value_dim"]
Gates = Callable[[U], tuple[Float[Tensor, "node row head source"], Float[Tensor, "node row head"] | None]]


@dataclass(frozen=True, eq=False)
class AttentionOnPath:
    """u at points of the path and, for a cotangent `dL/du`, the integrands of the sources.

    The second part of `gates` is the integrand of the row's own query; None where it does not move.
    """

    u: U
    gates: Gates


@dataclass(frozen=True, eq=False)
class AttentionPath:
    """Attention of sentences along the paths from `start`; `cost` is the numbers a (node, row) keeps."""

    sentences: LayerBatch
    start: Start
    at: Callable[[Float[Tensor, " node"], Int[Tensor, " row"]], U]
    moving: Callable[[Float[Tensor, " node"], Int[Tensor, " row"]], AttentionOnPath]
    heads: int
    cost: int


def attention_path(sentences: LayerBatch, start: Start) -> AttentionPath:
    """The fastest way that the layer allows."""
    if sentences.layers[0].shortcut is None:
        return _by_capture(sentences, start)
    return (_from_own if start.per_target else _from_shared)(sentences, start)


def _by_capture(sentences: LayerBatch, start: Start) -> AttentionPath:
    (layer,) = sentences.layers

    def at(nodes: Tensor, rows: Tensor) -> U:
        streams = captured_streams(layer, start, nodes, rows, moving=False)
        return streams.u(streams.weights())

    def moving(nodes: Tensor, rows: Tensor) -> AttentionOnPath:
        return _moving(captured_streams(layer, start, nodes, rows, moving=True))

    tokens, dim = layer.hidden.shape
    with torch.no_grad():
        heads = layer.capture(layer.hidden[None]).query.shape[1]
    cost = tokens * dim * (16 if start.per_target else 1) + 8 * tokens * heads
    return AttentionPath(sentences, start, at, moving, heads, cost)


def _moving(streams: CapturedAttention) -> AttentionOnPath:
    weights = streams.weights()
    return AttentionOnPath(streams.u(weights), lambda to_u: streams.gates(weights, to_u))


# --- with rays ------------------------------------------------------------------------------------


def _from_shared(sentences: LayerBatch, start: Start) -> AttentionPath:
    """Every source moves from its own `start.vectors`, whatever the target."""
    found = project(sentences, torch.stack([start.vectors, sentences.z]))

    def streams(nodes: Tensor, rows: Tensor) -> CapturedAttention:
        grid = sentences.grid(rows)
        moved = {
            part: on_path(*_ends(ray, grid.sentences), nodes.to(sentences.z))
            for part, ray in found.rays.items()
        }
        (query, query_step), (key, key_step), (value, value_step) = (
            (value.flatten(0, 1), step.flatten(0, 1)) for value, step in moved.values()
        )
        each = BatchRows(
            torch.arange(len(query), device=rows.device), grid.columns.repeat(len(nodes), 1), None
        )
        bias = found.form.bias
        form = replace(found.form, bias=None if bias is None else grid.of(bias).repeat(len(nodes), 1, 1, 1))
        return CapturedAttention(
            each.of(query), key, value, form, len(nodes), grid, each.of(query_step), key_step, value_step
        )

    def at(nodes: Tensor, rows: Tensor) -> U:
        here = streams(nodes, rows)
        return here.u(here.weights())

    def moving(nodes: Tensor, rows: Tensor) -> AttentionOnPath:
        return _moving(streams(nodes, rows))

    heads = found.query.shape[1]
    cost = 10 * heads * sentences.tokens + 20 * sentences.z.shape[1]
    return AttentionPath(sentences, start, at, moving, heads, cost)


def _ends(ray: NormAffine, some: Tensor) -> tuple[NormAffine, NormAffine]:
    """The rays of the start and of the real input, for some of the sentences."""
    offset = None if ray.offset is None else ray.offset[some, 0]
    bare = replace(ray, offset=None)
    first = of_each(bare, lambda part: part[some, 0])
    return first, replace(of_each(bare, lambda part: part[some, 1]), offset=offset)


def _from_own(sentences: LayerBatch, start: Start) -> AttentionPath:
    """Every source moves from the target's own vector."""
    found = project(sentences, sentences.z[None])
    key, value = (of_each(found.rays[name], lambda part: part[:, 0]) for name in ("key", "value"))
    own = PerTargetAttention(found.query, key, value, turned_keys(sentences, key.numerator), found.form)

    def at(nodes: Tensor, rows: Tensor) -> U:
        block = own.block(nodes, sentences.grid(rows))
        return block.u(block.weights()[0])

    def moving(nodes: Tensor, rows: Tensor) -> AttentionOnPath:
        block = own.block(nodes, sentences.grid(rows))
        p, slope = block.weights()
        return AttentionOnPath(block.u(p), lambda to_u: (block.gates(p, slope, to_u), None))

    heads = own.query.shape[1]
    cost = 12 * heads * sentences.tokens + 4 * sentences.z.shape[1]
    return AttentionPath(sentences, start, at, moving, heads, cost)
