"""Attention along paths that start at the target's own vector (`itb`), in closed form.

The key of source k on the path of target j is `O_k + N_jk(a)/|ψ_jk(a)|`, with N the straight line from
what target j would be at position k to `N_k` (see `ligflow.method.norm_affine`). Its score is

    scale q_j . K_jk(a) = ((1-a) B_jk + a A_jk) / |ψ_jk(a)| + C_jk
    A_jk = q_j . N_k      B_jk = q_j . (N_j at position k)      C_jk = q_j . O_k

and the context vector two products with the values. So no point of a path needs a projection, and no
tensor holds (point, target, source, dimension).
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from ligflow.method.attention import ScoreTerms, dot, softmax, spread
from ligflow.method.attention_parts import of_scores
from ligflow.method.norm_affine import NormAffine, inverse_norm, of_each
from ligflow.paths.batch import BatchRows
from ligflow.paths.batch_projections import Turned


@dataclass(frozen=True, eq=False)
class PerTargetAttention:
    """Queries, and keys and values in closed form at the real input, of all sentences."""

    query: Float[Tensor, "sentence head token dim"]
    key: NormAffine
    value: NormAffine
    turned: Turned | None
    form: ScoreTerms

    def block(self, nodes: Float[Tensor, " node"], table: BatchRows) -> "PerTargetBlock":
        """The rows of a table at points of their paths."""
        query = table.of(self.query) * self.form.scaling
        key, value = (of_each(form, table.of_sentences) for form in (self.key, self.value))
        end = dot(query, key.numerator)
        bias = self.form.bias
        return PerTargetBlock(
            nodes.to(query)[:, None, None],
            table,
            _turned(query, self.turned, table) if self.turned else _same(query, table.of(self.key.numerator)),
            end,
            None if key.offset is None else dot(query, key.offset),
            value.numerator,
            table.of(self.value.numerator),
            value.offset,
            _squares(self.key, table, query.shape[1]),
            _squares(self.value, table, query.shape[1]),
            replace(self.form, bias=None if bias is None else table.of(bias)),
        )


@dataclass(frozen=True, eq=False)
class PerTargetBlock:
    """Scores and values of some rows, `[sentence, head, node, slot, source]` once they meet `a`."""

    a: Float[Tensor, "node 1 1"]
    table: BatchRows
    score_start: Float[Tensor, "sentence head slot #source"]
    score_end: Float[Tensor, "sentence head slot source"]
    score_shift: Float[Tensor, "sentence head slot source"] | None
    value: Float[Tensor, "sentence group source value_dim"]
    own_value: Float[Tensor, "sentence group slot value_dim"]
    value_shift: Float[Tensor, "sentence group source value_dim"] | None
    key_squares: tuple[Tensor, Tensor, Tensor] | None
    value_squares: tuple[Tensor, Tensor, Tensor] | None
    form: ScoreTerms

    def weights(self) -> tuple[Tensor, Tensor]:
        """Attention weights, and how scores move along the path (through the soft cap)."""
        start, end = self.score_start[:, :, None], self.score_end[:, :, None]
        slope = end - start
        scores = torch.addcmul(start, self.a, slope)
        if self.key_squares is not None:
            inverse, change = self._inverse(self.key_squares)
            slope = torch.addcmul(slope * inverse, scores, change)
            scores = scores * inverse
        if self.score_shift is not None:
            scores = scores + self.score_shift[:, :, None]
        if self.form.softcap is not None:
            bent = torch.tanh(scores / self.form.softcap)
            scores, slope = bent * self.form.softcap, slope * (1 - bent * bent)
        if self.form.bias is not None:
            scores = scores + self.form.bias[:, :, None]
        return softmax(scores, self.form.sink), slope

    def u(
        self, p: Float[Tensor, "sentence head node slot source"]
    ) -> Float[Tensor, "node row head value_dim"]:
        """`sum_k p_k V_jk(a)`."""
        pull = p if self.value_squares is None else p * self._inverse(self.value_squares)[0]
        mixed = self._spread(pull, self.value)
        own = self._heads(self.own_value)[:, :, None]
        u = torch.lerp(pull.sum(-1, keepdim=True) * own, mixed, self.a)
        if self.value_shift is not None:
            u = u + self._spread(p, self.value_shift)
        return self._rows(u)

    def source_integrands(
        self, p: Tensor, slope: Tensor, to_u: Float[Tensor, "node row head value_dim"]
    ) -> Float[Tensor, "node row head source"]:
        """The integrand of every source through its key and value; 0 for the target itself."""
        worth, step = self._worth(self._cells(to_u))
        score_grad = worth.sub_((p * worth).sum(-1, keepdim=True)).mul_(slope).add_(step).mul_(p)
        return self._but_own(self._rows(score_grad))

    def part_integrands(
        self, p: Tensor, slope: Tensor, to_u: Float[Tensor, "node row head value_dim"]
    ) -> Float[Tensor, "all node row head source"]:
        """The integrands by value, key and query, and the keys' common move; queries stay."""
        worth, step = self._worth(self._cells(to_u))
        p, worth, slope, step = (self._rows(cells) for cells in (p, worth, slope.expand_as(p), step))
        step, slope = self._but_own(step), self._but_own(slope.clone())  # which points may share
        return of_scores(p, worth, p * step, slope, torch.zeros_like(slope)).every

    def _worth(self, pull: Tensor) -> tuple[Tensor, Tensor]:
        """What each source's value is worth, `g . V_jk(a)`, and how that moves along the path."""
        own = (pull * self._heads(self.own_value)[:, :, None]).sum(-1, keepdim=True)
        step = self._dot(pull, self.value).sub_(own)
        worth = torch.addcmul(own, self.a, step)
        if self.value_squares is not None:
            inverse, change = self._inverse(self.value_squares)
            step = torch.addcmul(step * inverse, worth, change)
            worth = worth * inverse
        if self.value_shift is not None:
            worth = worth + self._dot(pull, self.value_shift)
        return worth, step

    def _but_own(self, rows: Float[Tensor, "node row head source"]) -> Float[Tensor, "node row head source"]:
        """0 for the target itself, which does not move."""
        index = self.table.pick(self.table.columns.reshape(1, -1)).reshape(1, -1, 1, 1)
        return rows.scatter_(-1, index.expand(*rows.shape[:-1], 1), 0)

    def _inverse(self, squares: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """`1/|ψ|` and its derivative, over heads."""
        start, cross, end = (square[:, :, None] for square in squares)
        return inverse_norm(start, cross, end, self.a)

    def _heads(self, groups: Float[Tensor, "sentence group slot dim"]) -> Tensor:
        return _over_heads(groups, self.score_end.shape[1])

    def _spread(self, p: Tensor, values: Tensor) -> Tensor:
        return spread(p.flatten(2, 3), values).unflatten(2, p.shape[2:4])

    def _dot(self, pull: Tensor, values: Tensor) -> Tensor:
        return dot(pull.flatten(2, 3), values).unflatten(2, pull.shape[2:4])

    def _rows(self, cells: Tensor) -> Tensor:
        """`[sentence, head, node, slot, last]` to `[node, row, head, last]`."""
        return self.table.pick(cells.permute(2, 0, 3, 1, 4).flatten(1, 2))

    def _cells(self, rows: Tensor) -> Tensor:
        cells = self.table.spread(rows).unflatten(1, self.table.columns.shape)
        return cells.permute(1, 3, 0, 2, 4)


def _same(query: Tensor, own: Tensor) -> Tensor:
    """`q_j . N_j`, the same at every position."""
    return (query * _over_heads(own, query.shape[1])).sum(-1, keepdim=True)


def _turned(query: Tensor, turned: Turned, table: BatchRows) -> Tensor:
    """`q_j . (N_j at position k)`: two products with the turns."""
    base, other = (_over_heads(table.of(part), query.shape[1]) for part in (turned.base, turned.other))
    cos, sin = (table.of_sentences(part)[:, None] for part in (turned.cos, turned.sin))
    return dot(query * base, cos) + dot(query * other, sin)


def _squares(form: NormAffine, table: BatchRows, heads: int) -> tuple[Tensor, Tensor, Tensor] | None:
    """`|ψ_j|²`, `ψ_j . ψ_k` and `|ψ_k|²` over heads, or once for all."""
    if form.feature is None:
        return None
    own, every = table.of(form.feature), table.of_sentences(form.feature)
    start, end = own.square().sum(-1)[..., None], every.square().sum(-1)[:, :, None]
    cross = own @ every.transpose(-1, -2)
    if cross.shape[1] == 1:
        return start, cross, end
    return _over_heads(start, heads), _over_heads(cross, heads), _over_heads(end, heads)


def _over_heads(groups: Tensor, heads: int) -> Tensor:
    repeats = heads // groups.shape[1]
    return groups if repeats == 1 else groups.repeat_interleave(repeats, dim=1)
