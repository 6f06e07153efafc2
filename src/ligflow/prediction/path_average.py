"""The path-averaged Jacobian of a segment, applied backwards: `m_{t-1} = (∫ J(v° + a Δv) da)ᵀ m_t`.

Points are those of Gauss and Patterson [patterson1968], 1, 3, 7, 15, 31 and symmetric about 1/2; where they
are not enough the path is cut into halves, and these again where it is worst. Where no token of a segment
depends on another, the error of each token is known, `|g_k Δv_k - m_k ΔF_k|`; elsewhere it is estimated from
the changes between three levels, and from the signed sum.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from ligflow.method.quadrature_rules import LEVELS, patterson_nodes
from ligflow.prediction.affine import is_affine
from ligflow.prediction.matrix_points import Points, points_of
from ligflow.prediction.path_variable import Variable
from ligflow.prediction.pullback import Cotangents, points_at_once
from ligflow.prediction.segment import Segment
from ligflow.prediction.segment_errors import (
    Sum,
    extrapolated,
    relevance_by_token,
    sum_of,
    terms_rounding,
)

_IN_HALVES = 3  # the level of each part of a path that is cut
_ROUNDINGS = 20  # what is off by so many roundings of `m ΔF` is not refined
_CUT_ROUNDINGS = 40  # what is off by so many of all terms of `g Δv`, and no less in parts, stays in parts
_CUTS = 2  # in a row, in which that shows


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

    def with_rows(self, rows: Tensor, new: "Average") -> "Average":
        """The average with some rows anew; what was carried through it is left out."""
        every = torch.arange(len(self.error))
        jumps = self.jumps if self.jumps is None or new.jumps is None else self.jumps.clone()
        if jumps is not None and new.jumps is not None:
            jumps[rows] = new.jumps
        notes = dict.fromkeys(note for note in (self.note, new.note) if note)
        return replace(
            joined([(every, self), (rows, new)], len(every), {}), jumps=jumps, note="; ".join(notes)
        )


def joined(parts: Sequence[tuple[Tensor, Average]], count: int, carried: Cotangents) -> Average:
    """One average of all rows, each from the last part that holds it."""
    if len(parts) == 1 and len(parts[0][0]) == count:
        return replace(parts[0][1], carried=carried)
    rows, averages = [rows for rows, _ in parts], [average for _, average in parts]

    def whole(tensors: Sequence[Tensor]) -> Tensor:
        total = tensors[0].new_zeros(count, *tensors[0].shape[1:])
        for own, tensor in zip(rows, tensors, strict=True):
            total = total.index_copy(0, own.to(tensor.device), tensor)
        return total

    def by_name(each: Sequence[Cotangents]) -> dict[str, Tensor]:
        return {name: whole([of[name] for of in each]) for name in each[0]}

    return Average(
        by_name([average.cotangents for average in averages]),
        whole([average.residue for average in averages]),
        whole([average.error for average in averages]),
        whole([average.points for average in averages]),
        by_name([average.local for average in averages]),
        carried,
    )


@dataclass(frozen=True, eq=False)
class _Part:
    """One part of a path: its points, and what they add by the finest rule and by coarser ones."""

    low: float
    high: float
    level: int
    points: Points
    by_token: Float[Tensor, "row token"]
    coarse: Float[Tensor, "row token"]
    error: Float[Tensor, " row"]
    likely: Float[Tensor, " row"]

    @property
    def change(self) -> Float[Tensor, " row"]:
        """What the finest rule changes."""
        return (self.by_token - self.coarse).abs().sum(-1)

    def only(self, rows: Tensor) -> "_Part":
        """That of some examples."""
        return replace(
            self, points=self.points.only(rows), by_token=self.by_token[rows], coarse=self.coarse[rows],
            error=self.error[rows], likely=self.likely[rows],
        )  # fmt: skip

    def cotangents(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Those of the finest rule, and of the one before."""
        levels = [self.level, max(0, self.level - 1)]
        fine, coarse = self.points.cotangents(levels, self.high - self.low)
        return fine, coarse


@dataclass(frozen=True, eq=False)
class _Work:
    """A segment with the cotangents of its images."""

    segment: Segment
    sources: Mapping[str, Variable]
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
        return _Work(self.segment, sources, self.sought.only(rows))

    def part(self, low: float, high: float, level: int, points: Points) -> _Part:
        """What points of a part of the path add, with two coarser rules beside."""
        levels = [max(0, level - back) for back in range(3)]
        by_level = {each: points.by_token(each, high - low) for each in dict.fromkeys(levels)}
        fine, coarse, coarsest = (by_level[each] for each in levels)
        change, before = ((a - b).abs().sum(-1).cpu() for a, b in ((fine, coarse), (coarse, coarsest)))
        error, likely = (
            extrapolated(before, change, careful) if level > 1 else change for careful in (True, False)
        )
        return _Part(low, high, level, points, fine.cpu(), coarse.cpu(), error, likely)

    def error(self, parts: Sequence[_Part]) -> Float[Tensor, " row"]:
        """The error that all parts leave."""
        return self._error(_total(part.by_token for part in parts), _total(part.error for part in parts))

    def _error(self, by_token: Tensor, estimate: Tensor) -> Tensor:
        if self.segment.tokenwise:
            return (by_token - self.sought.by_token(by_token.shape[-1]).cpu()).abs().sum(-1)
        residue = by_token.sum(-1) - self.sought.total.cpu()
        return torch.maximum(estimate, residue.abs())

    def is_rounding(self, parts: Sequence[_Part], cotangents: Cotangents) -> Bool[Tensor, " row"]:
        """Whether what all parts leave may be rounding: of every token, where errors are known by token."""
        rounding = _CUT_ROUNDINGS * terms_rounding(self.sources, cotangents).cpu()
        if not self.segment.tokenwise:
            return self.error(parts) <= rounding.sum(-1)
        by_token = _total(part.by_token for part in parts)
        off = (by_token - self.sought.by_token(by_token.shape[-1]).cpu()).abs()
        return (off <= rounding).all(-1)

    def judged(self, parts: Sequence[_Part], count: int) -> Average:
        """The average of all parts, and its errors."""
        both = [part.cotangents() for part in parts]
        fine, coarse = (
            {name: _total(each[rule][name] for each in both) for name in self.sources} for rule in range(2)
        )
        by_token = relevance_by_token(self.sources, fine).cpu()
        residue = by_token.sum(-1) - self.sought.total.cpu()
        error = self._error(by_token, _total(part.error for part in parts))
        share = self._share(parts, by_token)
        local = {name: (fine[name] - coarse[name]) * self._on(name, share).to(fine[name]) for name in fine}
        beyond = error > _total(part.change for part in parts)
        if bool(beyond.any()):
            local = self._along(local, beyond[:, None] * self._missing(local, by_token, residue))
        return Average(fine, residue, error, torch.full((len(error),), count), local)

    def of_rows(self, part: _Part, count: int, rows: Tensor | None) -> Average:
        """The average of some rows (None: of all); only these are computed where they are apart."""
        if rows is None or not self.examples:
            return self.judged([part], count)
        if self.apart:
            return self.only(rows).judged([part.only(rows)], count)
        return self.judged([part], count).only(rows)

    def _share(self, parts: Sequence[_Part], by_token: Tensor) -> Float[Tensor, "row token"]:
        """What part of the last change is left as an error, likely, or with the sign that is known by token.

        A token's is no larger than that of all: its change may nearly vanish by chance, that of its vector
        does not.
        """
        error = self._error(by_token, _total(part.likely for part in parts))
        change = _total(part.change for part in parts)
        share = torch.where(change > 0, (error / change.clamp(min=1e-300)).clamp(max=1), 0)
        of_all = share[:, None].expand_as(by_token)
        if not self.segment.tokenwise:
            return of_all
        off = by_token - self.sought.by_token(by_token.shape[-1]).cpu()
        own = (off / (by_token - _total(part.coarse for part in parts))).nan_to_num(0)
        return own.clamp(min=-of_all, max=of_all)

    def _missing(self, local: Cotangents, by_token: Tensor, residue: Tensor) -> Float[Tensor, "row token"]:
        """What sums are off beyond the errors of cotangents, as where a segment jumps and no rule sees it.

        A token's is known where no token depends on another; elsewhere tokens share what is missed of the
        sum of all, each by the size of its relevance.
        """
        held = relevance_by_token(self.sources, local).cpu()
        if self.segment.tokenwise:
            return by_token - self.sought.by_token(by_token.shape[-1]).cpu() - held
        beyond = (residue.abs() - held.abs().sum(-1)).clamp(min=0) * residue.sign()
        return beyond[:, None] * functional.normalize(by_token.abs(), p=1, dim=-1)

    def _along(self, local: Cotangents, missing: Float[Tensor, "row token"]) -> dict[str, Tensor]:
        """Errors of cotangents, and these of tokens along their motion: `missing_k Δv_k / |Δv_k|²`."""
        steps = {name: variable.step.expand_as(local[name]) for name, variable in self.sources.items()}
        squares = relevance_by_token(self.sources, steps).cpu()
        part = torch.where(squares > 0, missing / squares.clamp(min=1e-300), 0)
        return {
            name: tensor + self._on(name, part).to(tensor) * steps[name] for name, tensor in local.items()
        }

    def _on(self, name: str, share: Float[Tensor, "row token"]) -> Tensor:
        """Numbers by token beside the cotangents of a source."""
        variable = self.sources[name]
        own = variable.real.ndim - variable.rows
        if variable.axis < 0:
            return share[:, :1].reshape(-1, *[1] * own)
        shape = [variable.count if axis == variable.axis else 1 for axis in range(own)]
        return share[:, variable.offset : variable.offset + variable.count].reshape(-1, *shape)


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
    work = _Work(segment, sources, sum_of(segment, variables, above))
    enough = torch.maximum(allowance, _ROUNDINGS * work.sought.rounding)
    least = next(level for level in range(LEVELS) if _count(level) >= min(min_points, _count(LEVELS - 1)))
    points = points_of(segment, sources, above)
    kept, waiting = list[tuple[Tensor, Average]](), torch.arange(len(enough))
    begun = segment.start or int(not is_affine(segment, sources))
    first = max(begun, least)
    levels = [first, *(level for level in range(first + 1, LEVELS) if _count(level) <= max_points)]
    ahead = min(segment.ahead, levels[-1])
    ahead = ahead if ahead > first and _count(ahead) < points_at_once(sources) else first
    extra = points.with_carried(_nodes(0.0, 1.0, ahead), carried)
    for level in levels:
        taken = _count(level)
        if level > ahead:
            points.at(_nodes(0.0, 1.0, level)[_count(level - 1) :])
        whole = work.part(0.0, 1.0, level, points)
        error = work.error([whole])
        met = (error[waiting] if work.examples and not work.apart else error) <= enough[waiting]
        if level == levels[-1] or bool(met.all()):
            kept.append((waiting, work.of_rows(whole, taken, None if work.apart else waiting)))
        elif work.examples and bool(met.any()):
            kept.append((waiting[met], work.of_rows(whole, taken, met if work.apart else waiting[met])))
        if bool(met.all()):
            return joined(kept, len(enough), extra)
        if work.apart:
            work, points = work.only(~met), points.only(~met)
        waiting = waiting[~met] if work.examples else waiting
    kept.append((waiting, _finer(work, points, kept[-1], waiting, enough, max_points)))
    return joined(kept, len(enough), extra)


def _finer(
    work: _Work,
    points: Points,
    last: tuple[Tensor, Average],
    waiting: Tensor,
    enough: Tensor,
    max_points: int,
) -> Average:
    """The rows that wait with their path in halves: examples one by one, so that none depends on others."""
    rows, result = last
    before = result.only(torch.isin(rows, waiting).nonzero()[:, 0])
    if not work.apart:
        return _in_halves(
            work, points, before, enough[waiting], max_points, waiting if work.examples else None
        )
    parts = [(torch.arange(len(waiting)), before)]
    for place, number in enumerate(waiting.tolist()):
        only, limit = torch.tensor([place]), enough[number : number + 1]
        own = before.only(only)
        parts.append((only, _in_halves(work.only(only), points.only(only), own, limit, max_points)))
    return joined(parts, len(waiting), {})


def _in_halves(
    work: _Work,
    points: Points,
    before: Average,
    enough: Tensor,
    max_points: int,
    rows: Tensor | None = None,
) -> Average:
    """The path cut in two, and again where the change between rules is largest, until it is enough.

    With `rows` it is for some rows of work that all go through.
    """
    nothing = torch.zeros(len(work.sought.rounding), dtype=torch.float64)
    count, each = int(before.points.max()), _count(_IN_HALVES)
    least, in_vain = before.error, torch.zeros(len(before.error))
    hopeless = torch.zeros_like(enough, dtype=torch.bool)
    parts = [_Part(0.0, 1.0, 0, points, nothing[:, None], nothing[:, None], nothing, nothing)]
    error = before.error
    while count + 2 * each <= max_points and not bool((hopeless | (error <= enough)).all()):
        worst = max(parts, key=lambda part: float((_of(part.change, rows) / enough.clamp(min=1e-300)).max()))
        middle = (worst.low + worst.high) / 2
        parts.remove(worst)
        for low, high in ((worst.low, middle), (middle, worst.high)):
            half = points.fresh()
            half.at(_nodes(low, high, _IN_HALVES))
            parts.append(work.part(low, high, _IN_HALVES, half))
        count += 2 * each
        error = _of(work.error(parts), rows)
        in_vain = torch.where(error < 0.9 * least, 0, in_vain + 1)
        least = torch.minimum(least, error)
        if rows is None:
            hopeless = (in_vain >= _CUTS) & work.is_rounding(parts, before.cotangents)
    if len(parts) == 1:
        return before
    result = work.judged(parts, count)
    result = result if rows is None else result.only(rows)
    better = result.error <= before.error
    return result if bool(better.all()) else before.with_rows(better.nonzero()[:, 0], result.only(better))


def _of(change: Tensor, rows: Tensor | None) -> Tensor:
    return change if rows is None else change[rows]


def _count(level: int) -> int:
    """How many points a level has."""
    return 2 ** (level + 1) - 1


def _nodes(low: float, high: float, level: int) -> Float[Tensor, " point"]:
    """The points of a level on a part of the path."""
    return low + (high - low) * _of_whole(level)


@cache
def _of_whole(level: int) -> Float[Tensor, " point"]:
    return torch.from_numpy((patterson_nodes(level) + 1) / 2)


def _total(tensors: Iterable[Tensor]) -> Tensor:
    first, *others = tensors
    for tensor in others:
        first = first + tensor
    return first
