"""The path-averaged Jacobian of a segment, applied backwards: `m_{t-1} = (∫ J(v° + a Δv) da)ᵀ m_t`.

Points are those of Gauss and Patterson [patterson1968], 1, 3, 7, 15, 31 and symmetric about 1/2; where they
are not enough the path is cut into halves, and these again where it is worst. Where no token of a segment
depends on another, the error of each token is known, `|g_k Δv_k - m_k ΔF_k|`; elsewhere it is estimated from
the changes between three levels, and from the signed sum.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ligflow.method.quadrature_rules import LEVELS, patterson_nodes, patterson_weights
from ligflow.prediction.pullback import Cotangents, points_at_once, pulled_back
from ligflow.prediction.segment import Segment, Variable
from ligflow.prediction.segment_errors import Sum, extrapolated, relevance_by_token, sum_of

_IN_HALVES = 3  # the level of each part of a path that is cut
_ROUNDINGS = 20  # what is off by so many roundings of `m ΔF` is not refined


@dataclass(frozen=True, eq=False)
class Average:
    """The cotangents of a segment's sources, by row of the answer, and how well they are known.

    `error` is the estimated sum over tokens of `|relevance - its true value|`, `residue` what the sources sum
    to less what they should; `carried` the cotangents of errors made above, `local` those of errors made
    here. `jumps` is what came of changes of experts, which the cotangents hold, and `note` what must be
    known of them.
    """

    cotangents: Cotangents
    residue: Float[Tensor, " row"]
    error: Float[Tensor, " row"]
    points: Int[Tensor, " row"]
    local: Cotangents
    carried: Cotangents = field(default_factory=dict)
    jumps: Float[Tensor, "row token"] | None = None
    note: str = ""

    def only(self, rows: Tensor) -> "Average":
        """That of some rows."""
        return replace(
            self, cotangents={name: tensor[rows] for name, tensor in self.cotangents.items()},
            residue=self.residue[rows], error=self.error[rows], points=self.points[rows],
            local={name: tensor[rows] for name, tensor in self.local.items()},
            carried={name: tensor[rows] for name, tensor in self.carried.items()},
            jumps=None if self.jumps is None else self.jumps[rows],
        )  # fmt: skip


def joined(parts: Sequence[tuple[Tensor, Average]], carried: Cotangents) -> Average:
    """One average of all rows, of which later parts hold some anew."""
    (_, first), *others = parts

    def whole(tensor: Tensor, later: Iterable[Tensor]) -> Tensor:
        for (rows, _), more in zip(others, later, strict=True):
            tensor = tensor.index_copy(0, rows.to(tensor.device), more)
        return tensor

    averages = [average for _, average in others]
    names = first.cotangents
    return Average(
        {name: whole(names[name], [each.cotangents[name] for each in averages]) for name in names},
        whole(first.residue, [each.residue for each in averages]),
        whole(first.error, [each.error for each in averages]),
        whole(first.points, [each.points for each in averages]),
        {name: whole(own, [each.local[name] for each in averages]) for name, own in first.local.items()},
        carried,
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Part:
    """One part of a path: what it adds, by the finest rule, and the changes from coarser ones."""

    low: float
    high: float
    fine: Cotangents
    coarse: Cotangents
    change: Float[Tensor, " row"]
    error: Float[Tensor, " row"]


@dataclass(frozen=True, eq=False)
class _Work:
    """A segment with the cotangents of its images."""

    segment: Segment
    sources: Mapping[str, Variable]
    above: Cotangents
    sought: Sum

    @property
    def examples(self) -> bool:
        """Whether rows are examples, each with its own points."""
        return any(variable.rows for variable in self.sources.values())

    @property
    def apart(self) -> bool:
        """Whether rows are examples that can be left out."""
        return self.segment.apart and self.examples

    def only(self, rows: Tensor) -> "_Work":
        """The work of some rows."""
        sources = {name: variable.only(rows) for name, variable in self.sources.items()}
        above = {name: tensor[rows] for name, tensor in self.above.items()}
        return _Work(self.segment, sources, above, self.sought.only(rows))

    def part(self, low: float, high: float, level: int, points: Mapping[str, Sequence[Tensor]]) -> _Part:
        """What points of a part of the path add, with two coarser rules beside."""
        rules = [self._weighted(points, max(0, level - back), high - low) for back in range(3)]
        fine, coarse, coarsest = (relevance_by_token(self.sources, rule) for rule in rules)
        change, before = ((a - b).abs().sum(-1).cpu() for a, b in ((fine, coarse), (coarse, coarsest)))
        error = extrapolated(before, change) if level > 1 else change
        return _Part(low, high, rules[0], rules[1], change, error)

    def _weighted(
        self, points: Mapping[str, Sequence[Tensor]], level: int, width: float
    ) -> dict[str, Tensor]:
        weights = torch.from_numpy(patterson_weights(level) / 2 * width)
        sums = {}
        for name, tensors in points.items():
            total, at = torch.zeros_like(tensors[0][0]), 0
            for tensor in tensors:
                own = weights[at : at + len(tensor)].to(tensor)
                total = total + torch.tensordot(own, tensor[: len(own)], dims=1) if len(own) else total
                at += len(tensor)
            sums[name] = total
        return sums

    def at(self, nodes: Float[Tensor, " point"], points: dict[str, list[Tensor]]) -> None:
        """Adds the cotangents at some points."""
        for block in nodes.split(points_at_once(self.sources)) if len(nodes) else ():
            _add(points, pulled_back(self.segment, self.sources, self.above, {}, block)[0])

    def judged(self, parts: Sequence[_Part], count: int) -> Average:
        """The average of all parts, and its errors."""
        fine = {name: _total(part.fine[name] for part in parts) for name in self.sources}
        coarse = {name: _total(part.coarse[name] for part in parts) for name in self.sources}
        by_token = relevance_by_token(self.sources, fine).cpu()
        residue = by_token.sum(-1) - self.sought.total.cpu()
        change = _total(part.change for part in parts)
        if self.segment.tokenwise:
            error = (by_token - self.sought.by_token(by_token.shape[-1]).cpu()).abs().sum(-1)
        else:
            error = torch.maximum(_total(part.error for part in parts), residue.abs())
        share = torch.where(change > 0, (error / change.clamp(min=1e-300)).clamp(max=1), 0)
        local = {
            name: (fine[name] - coarse[name]) * share.to(fine[name]).reshape(-1, *[1] * (fine[name].ndim - 1))
            for name in fine
        }
        return Average(fine, residue, error, torch.full((len(error),), count), local)


def average(
    segment: Segment,
    variables: Mapping[str, Variable],
    above: Cotangents,
    carried: Cotangents,
    allowance: Float[Tensor, " row"],
    max_points: int = 511,
    min_points: int = 1,
) -> Average:
    """The averaged Jacobian's transpose on cotangents `above`, at as many points as keep the allowance.

    `carried` are cotangents too, of estimated errors, which are taken at the midpoint alone. Raises
    LigflowError where values on the path are not finite.
    """
    sources = {name: variables[name] for name in segment.sources}
    work = _Work(segment, sources, above, sum_of(segment, variables, above))
    enough = torch.maximum(allowance, _ROUNDINGS * work.sought.rounding)
    least = next(level for level in range(LEVELS) if _count(level) >= min(min_points, _count(LEVELS - 1)))
    points: dict[str, list[Tensor]] = {name: [] for name in sources}
    middle, extra = pulled_back(segment, sources, above, carried, _nodes(0.0, 1.0, 0))
    _add(points, middle)
    kept, waiting, taken = list[tuple[Tensor, Average]](), torch.arange(len(enough)), 1
    for level in range(max(segment.start, least), LEVELS):
        if kept and _count(level) > max_points:
            break
        work.at(_nodes(0.0, 1.0, level)[taken:], points)
        taken = _count(level)
        whole = work.part(0.0, 1.0, level, points)
        result = work.judged([whole], taken)
        of_waiting = result if work.apart or not work.examples else result.only(waiting)
        kept.append((waiting, of_waiting))
        met = of_waiting.error <= enough[waiting]
        if bool(met.all()):
            return joined(kept, extra)
        if work.apart:
            work, points = work.only(~met), {n: [t[:, ~met] for t in of] for n, of in points.items()}
        waiting = waiting[~met] if work.examples else waiting
    kept.append((waiting, _finer(work, kept[-1], waiting, enough, max_points)))
    return joined(kept, extra)


def _finer(
    work: _Work, last: tuple[Tensor, Average], waiting: Tensor, enough: Tensor, max_points: int
) -> Average:
    """The rows that wait with their path in halves: examples one by one, so that none depends on others."""
    rows, result = last
    if not work.apart:
        return _in_halves(work, result, enough[waiting], max_points, waiting if work.examples else None)
    parts = []
    for place, number in enumerate(waiting.tolist()):
        before = result.only((rows == number).nonzero()[:, 0])
        only = torch.tensor([place])
        parts.append((only, _in_halves(work.only(only), before, enough[number : number + 1], max_points)))
    start = result.only(torch.cat([(rows == number).nonzero()[:, 0] for number in waiting.tolist()]))
    return joined([(torch.arange(len(waiting)), start), *parts], {})


def _in_halves(
    work: _Work, before: Average, enough: Tensor, max_points: int, rows: Tensor | None = None
) -> Average:
    """The path cut in two, and again where the change between rules is largest, until it is enough.

    With `rows` it is for some rows of work that all go through.
    """
    nothing = torch.zeros(len(next(iter(work.above.values()))), dtype=torch.float64)
    count, each = int(before.points.max()), _count(_IN_HALVES)
    parts = [_Part(0.0, 1.0, {}, {}, nothing, nothing)]
    result = before
    while count + 2 * each <= max_points and not bool((result.error <= enough).all()):
        worst = max(parts, key=lambda part: float((_of(part.change, rows) / enough.clamp(min=1e-300)).max()))
        middle = (worst.low + worst.high) / 2
        parts.remove(worst)
        for low, high in ((worst.low, middle), (middle, worst.high)):
            points: dict[str, list[Tensor]] = {name: [] for name in work.sources}
            work.at(_nodes(low, high, _IN_HALVES), points)
            parts.append(work.part(low, high, _IN_HALVES, points))
        count += 2 * each
        result = work.judged(parts, count)
        result = result if rows is None else result.only(rows)
    return result if bool((result.error <= before.error).all()) else before


def _of(change: Tensor, rows: Tensor | None) -> Tensor:
    return change if rows is None else change[rows]


def _count(level: int) -> int:
    """How many points a level has."""
    return 2 ** (level + 1) - 1


def _nodes(low: float, high: float, level: int) -> Float[Tensor, " point"]:
    """The points of a level on a part of the path."""
    return low + (high - low) * torch.from_numpy((patterson_nodes(level) + 1) / 2)


def _add(points: dict[str, list[Tensor]], more: Mapping[str, Tensor]) -> None:
    for name, tensor in more.items():
        points[name].append(tensor)


def _total(tensors: Iterable[Tensor]) -> Tensor:
    first, *others = tensors
    for tensor in others:
        first = first + tensor
    return first
