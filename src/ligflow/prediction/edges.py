"""What a head carries from source to target: its relevance at a target, by what it read.

    e[h, j, k] = m_u[j, h] . ∫ J_jk(z(a)) da Δz_k        Σ_k e[h, j, k] = m_u[j, h] . Δu_j^h

With queries, keys and values at a point of the path, their derivatives q', k', v' along it, weights p, scores
`s q_j . k_k` and `g = m_u[j, h]`, the integrand is in closed form

    p_jk g.v'_k + w_jk s q_j.k'_k + [j = k] Σ_l w_jl s q'_j.k_l,     w_jk = p_jk (g.v_k - Σ_l p_jl g.v_l)

The right side of the sum is known, so that what the points miss shows, by head and target. The three terms
are the parts of an edge, what was read, where it was found, what was asked: `ligflow.method.attention_parts`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ligflow.layer.captured_path import CapturedPath
from ligflow.layer.interface import Captured
from ligflow.method.attention import Weights, attention_weights, dot, target_blocks
from ligflow.method.attention_parts import PARTS, attention_parts
from ligflow.method.quadrature_rules import LEVELS, patterson_nodes, patterson_weights
from ligflow.prediction.segment_errors import extrapolated

AttentionAt = Callable[[Tensor], CapturedPath]
_FIRST = 2  # the level of the quadrature that is judged first
_TENSORS = 24  # by target and source that a point makes on its way, in float64 twice as large
_KEPT = 2**28  # bytes of sums beyond which those of one level are kept
_PANELS = 16  # parts of a path that is hard, each with the points of the finest rule


@dataclass(frozen=True, eq=False)
class HeadEdges:
    """Edges of the heads of one attention, and what they miss.

    `sources` is what moves with a source's value and key, `own` what moves with the target's query, `parts`
    are value, key and query. `error` is the sum over heads and targets of the residues; with parts no less
    than the estimated error of their sums.
    """

    sources: Float[Tensor, "head target source"]
    own: Float[Tensor, "head target"]
    parts: Float[Tensor, "part head target source"] | None
    error: float
    points: int


def edges_of(
    attention_at: AttentionAt,
    towards: Float[Tensor, "token head value_dim"],
    change: Float[Tensor, "token head value_dim"],
    allowance: float,
    parts: bool = False,
    points: int | None = None,
) -> HeadEdges:
    """The edges of heads for cotangents of what they give, at as many points as keep the allowance.

    `attention_at` gives what the attention is given at a point of the path, `change` is Δu between its ends.
    With `points` (7, 15 or 31; 7 for fewer) it is so many, whatever their error.
    """
    sums = _Sums(attention_at, towards.transpose(0, 1)[None], parts)
    sought = (towards.double() * change.double()).sum(-1).T.cpu()
    pinned = None if points is None else max(_FIRST, points.bit_length() - 1)
    levels = range(_FIRST, LEVELS) if pinned is None else [pinned]
    for level in levels:
        sums.up_to(level)
        result = sums.judged(level, sought)
        if result.error <= allowance or pinned is not None:
            return result
    finer = _Sums(attention_at, towards.transpose(0, 1)[None], parts, _PANELS)
    finer.up_to(LEVELS - 1)
    best = finer.judged(LEVELS - 1, sought)
    return best if best.error < result.error else result


def held_edges(
    values: Float[Tensor, "run group source value_dim"],
    towards: Float[Tensor, "token head value_dim"],
    weights: Weights,
    parts: bool = False,
) -> HeadEdges:
    """The edges of heads whose weights are held: `e[h, j, k] = p_jk m_u[j, h] . Δv_k`, exact.

    `values` are those of the reference run and of the real one.
    """
    moved = dot(towards.transpose(0, 1)[None], values[1:] - values[:1])
    read = (weights.p * moved)[0].double().cpu()
    own = read.new_zeros(read.shape[:-1])
    stacked = torch.cat([read[None], read.new_zeros(2, *read.shape)]) if parts else None
    return HeadEdges(read, own, stacked, 0.0, 1)


class _Sums:
    """Sums over points of a path, by each level's weights, of a number of equal panels.

    The whole tensors are summed for the levels that can be the result, those of coarser ones over sources.
    Of a long text those of one level are, and the next one begins anew: no more is kept than is asked for.
    """

    def __init__(
        self,
        attention_at: AttentionAt,
        pull: Float[Tensor, "1 head target dim"],
        parts: bool,
        panels: int = 1,
    ) -> None:
        self.attention_at, self.pull, self.parts, self.panels = attention_at, pull, parts, panels
        self.weights = [(patterson_weights(level) / 2 / panels).tolist() for level in range(LEVELS)]
        self.wholes: dict[int, Tensor] = {}
        self.rows: dict[int, Tensor] = {}
        self.points = 0

    def up_to(self, level: int) -> None:
        """Adds the points of a level that are not among those of coarser ones."""
        nodes = torch.from_numpy((patterson_nodes(level) + 1) / 2)
        if self.points and level not in self.wholes:
            self.wholes, self.rows, self.points = {}, {}, 0
        for number in range(self.points, len(nodes)):
            for panel in range(self.panels):
                self._add(number, (nodes[number] + panel) / self.panels, level)
        self.points = len(nodes)

    def _add(self, number: int, node: Tensor, level: int) -> None:
        """Adds a point, block by block of targets, to the sums of `level` and of those that may be kept."""
        with torch.no_grad():
            path = self.attention_at(node)
            if not self.rows:
                self._begin(path.at, level)
            for targets in target_blocks(path.at.query, path.at.key, _TENSORS):
                pieces = self._pieces(path, targets)
                sums = pieces.sum(-1)
                for each, weights in enumerate(self.weights):
                    if number < len(weights):
                        self.rows[each][:, :, targets].add_(sums, alpha=weights[number])
                        if each in self.wholes:
                            whole = self.wholes[each]
                            whole[:, :, targets].add_(pieces[: len(whole)], alpha=weights[number])

    def _begin(self, at: Captured, level: int) -> None:
        heads, targets, pieces = *at.query.shape[1:3], 4 if self.parts else 2
        kept = pieces if self.parts else 1  # of what the query does its sum by target is enough
        shape = kept, heads, targets, at.key.shape[2]
        levels = range(_FIRST if self.panels == 1 else level, LEVELS)
        if len(levels) * math.prod(shape) * 8 > _KEPT:
            levels = range(level, level + 1)
        self.wholes = {each: torch.zeros(shape, dtype=torch.float64) for each in levels}
        self.rows = {each: torch.zeros(pieces, heads, targets, dtype=torch.float64) for each in range(LEVELS)}

    def _pieces(self, path: CapturedPath, targets: slice) -> Float[Tensor, "piece head target source"]:
        """What moves with sources, what with the query, and where parts are asked for values and keys."""
        at, form = path.at, path.at.form.of_targets(targets)
        query, pull = at.query[:, :, targets], self.pull[:, :, targets]
        steps = (path.query_step[:, :, targets], path.key_step, path.value_step)
        weights = attention_weights(query, at.key, form)
        found = attention_parts(weights, pull, query, at.key, at.value, steps, form.scaling)
        pieces = [found.sources, found.query]
        return torch.cat(pieces + [found.value, found.key] * self.parts).cpu().double()

    def judged(self, level: int, sought: Float[Tensor, "head target"]) -> HeadEdges:
        """The edges by a level's weights, and their error."""
        sources, own = self.wholes[level][0], self.rows[level][1]
        error = float((self.rows[level][0] + own - sought).abs().sum())
        if not self.parts:
            return HeadEdges(sources, own, None, error, self.points * self.panels)
        coarsest, coarse, fine = (self.rows[level - back][1:] for back in (2, 1, 0))
        before, after = ((a - b).abs().sum()[None] for a, b in ((coarse, coarsest), (fine, coarse)))
        error = max(error, float(extrapolated(before, after)))
        parts = self.wholes[level][[2, 3, 1]]
        assert len(parts) == len(PARTS)
        return HeadEdges(sources, own, parts, error, self.points * self.panels)
