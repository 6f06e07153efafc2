"""The averaged Jacobian of a segment that jumps where experts change: its smooth pieces, and the jumps.

Along a path on which the gap `g` of two scores changes sign at `a_i`, the derivative of F has a part that no
point of a rule meets:

    ∫ Jᵀ m da = Σ_pieces ∫ Jᵀ m da + Σ_i m . (F(a_i+) - F(a_i-)) ∇g / (∇g . Δv)

With both, what the sources sum to is `m . ΔF`, as without jumps.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from ligflow.prediction.path_average import Average, average
from ligflow.prediction.path_variable import Values, Variable
from ligflow.prediction.pullback import Cotangents, points_at_once
from ligflow.prediction.routing_changes import (
    Directions,
    RoutedPath,
    Stops,
    Unlocated,
    directions_of,
    stops_of,
)
from ligflow.prediction.segment import Segment
from ligflow.prediction.segment_errors import relevance_by_token, sum_of

# Looks at a path, and whether the order of experts counts; the second where the first do not explain it.
_LOOKS = ((32, False), (256, True))
_START = 1  # the level with which pieces begin: they are short
_FIRST = 31  # points of a piece before the path is looked at again


def routed_average(
    segment: Segment,
    variables: Mapping[str, Variable],
    above: Cotangents,
    carried: Cotangents,
    allowance: Float[Tensor, " row"],
    max_points: int = 511,
    min_points: int = 1,
) -> Average:
    """`ligflow.prediction.path_average.average` of a segment that chooses experts; examples one by one."""
    if not any(variables[name].rows for name in segment.sources):
        return _of_example(segment, variables, above, carried, allowance, max_points, min_points)
    used = {*segment.sources, *segment.images}
    parts = []
    for row in range(len(allowance)):
        one = slice(row, row + 1)
        own, errors = ({name: each[one] for name, each in of.items()} for of in (above, carried))
        alone = {name: variables[name].of(row) for name in used}
        parts.append(_of_example(segment, alone, own, errors, allowance[one], max_points, min_points))
    return _rows_of(parts)


def _rows_of(parts: Sequence[Average]) -> Average:
    """One average of several examples."""

    def rows(named: str) -> Tensor:
        return torch.cat([getattr(each, named) for each in parts])

    def by_name(named: str) -> dict[str, Tensor]:
        names = getattr(parts[0], named)
        return {name: torch.cat([getattr(each, named)[name] for each in parts]) for name in names}

    return Average(
        by_name("cotangents"), rows("residue"), rows("error"), rows("points"), by_name("local"),
        by_name("carried"), rows("jumps"), "; ".join(dict.fromkeys(each.note for each in parts if each.note)),
    )  # fmt: skip


def _of_example(
    segment: Segment,
    variables: Mapping[str, Variable],
    above: Cotangents,
    carried: Cotangents,
    allowance: Tensor,
    max_points: int,
    min_points: int,
) -> Average:
    sources = {name: variables[name] for name in segment.sources}
    best: Average | None = None
    for looks, ordered in _LOOKS:
        path = RoutedPath(segment, sources, ordered)
        most = max_points if ordered else min(max_points, max(_FIRST, min_points))
        try:
            pieces = _pieces(path, variables, stops_of(path, looks), max_points)
        except Unlocated as why:
            if best is not None:
                break
            plain = average(segment, variables, above, carried, allowance, max_points, min_points)
            note = f"the jumps of changing experts are not located: {why}"
            return replace(plain, jumps=_nothing(path, allowance), note=note)
        if pieces is None:
            smooth = average(segment, variables, above, carried, allowance, most, min_points)
            result = replace(smooth, jumps=_nothing(path, allowance))
        else:
            result = pieces.average(above, carried, allowance, most, min_points)
        best = result if best is None or float(result.error.sum()) < float(best.error.sum()) else best
        if bool((best.error <= allowance).all()):
            break
    assert best is not None
    return best


def _nothing(path: RoutedPath, rows: Tensor) -> Float[Tensor, "row token"]:
    """The jumps of a path on which none is found."""
    return torch.zeros(len(rows), path.tokens, dtype=torch.float64)


def _pieces(
    path: RoutedPath, variables: Mapping[str, Variable], stops: Stops, max_points: int
) -> "_Pieces | None":
    """The pieces of a path between its jumps; None where it has none."""
    count = len(stops.low)
    if not count:
        return None
    if (count + 1) * (2 ** (_START + 1) - 1) > max_points:
        raise Unlocated(f"there are {int(stops.change.sum())}, more than max_points={max_points} allows")
    images = {name: variables[name] for name in path.segment.images}
    ends = [_images(path, nodes) for nodes in (stops.low, stops.high)]
    return _Pieces(path, images, stops, directions_of(path, stops), *ends)


def _images(path: RoutedPath, nodes: Tensor) -> Values:
    """What the segment gives at points."""
    with torch.no_grad():
        blocks = [path.segment.run(path.at(block)) for block in nodes.split(points_at_once(path.sources))]
    return {name: torch.cat([block[name] for block in blocks]) for name in path.segment.images}


@dataclass(frozen=True, eq=False)
class _Pieces:
    """A path cut where its segment jumps, and what the segment gives just before and after each stop."""

    path: RoutedPath
    images: Mapping[str, Variable]
    stops: Stops
    directions: Directions
    before: Values
    after: Values

    def average(
        self, above: Cotangents, carried: Cotangents, allowance: Tensor, max_points: int, min_points: int
    ) -> Average:
        """The average of all pieces, each at as many points as it needs, with the jumps between."""
        sought = sum_of(self.path.segment, self.images, above)
        count, left = len(self.stops.low) + 1, torch.maximum(allowance, 20 * sought.rounding)
        most = max(max_points // count, 2 ** (_START + 1) - 1, min_points)
        parts: list[Average] = []
        for number in range(count):
            segment, variables = self._piece(number)
            errors = carried if number == count // 2 else {}
            may = left / (count - number)
            parts.append(average(segment, variables, above, errors, may, most, min_points))
            left = (left - parts[-1].error).clamp(min=0)
        jumped, sizes = self._jumped(above)
        cotangents = self._total([part.cotangents for part in parts])
        whole = {name: cotangents[name] + jumped[name] for name in cotangents}
        extra = dict(parts[count // 2].carried)
        if extra:
            more, _ = self._jumped(carried)
            extra = {name: extra[name] + more[name] for name in extra}
        by_token = relevance_by_token(self.path.sources, whole).cpu()
        residue = by_token.sum(-1) - sought.total.cpu()
        if self.path.segment.tokenwise:
            error = (by_token - sought.by_token(by_token.shape[-1]).cpu()).abs().sum(-1)
        else:
            error = torch.maximum(torch.stack([part.error for part in parts]).sum(0), residue.abs())
        points = torch.stack([part.points for part in parts]).sum(0)
        local = self._total([part.local for part in parts])
        return Average(whole, residue, error, points, local, extra, sizes.cpu(), self._note())

    def _piece(self, number: int) -> tuple[Segment, dict[str, Variable]]:
        """The segment between two stops, as between two runs."""
        start, end = self._edges()
        first, last = (self.path.at(edge[number : number + 1]) for edge in (start, end))
        own = {
            name: replace(variable, real=last[name][0], reference=first[name][0])
            for name, variable in self.path.sources.items()
        }
        for name, image in self.images.items():
            real = self.before[name][number] if number < len(self.stops.low) else image.real
            reference = self.after[name][number - 1] if number else image.reference
            own[name] = replace(image, real=real, reference=reference)
        segment = self.path.segment
        return replace(segment, start=min(segment.start, _START)), own

    def _edges(self) -> tuple[Tensor, Tensor]:
        zeros, ones = torch.zeros_like(self.stops.low[:1]), torch.ones_like(self.stops.low[:1])
        return torch.cat([zeros, self.stops.high]), torch.cat([self.stops.low, ones])

    def _total(self, parts: Sequence[Cotangents]) -> dict[str, Tensor]:
        """What the pieces add up to, each with its width."""
        start, end = self._edges()
        total = {}
        for name, variable in self.path.sources.items():
            widths = self.path.spread(variable, end - start)
            total[name] = sum(
                (width * part[name] for width, part in zip(widths, parts, strict=True)), start=0
            )
        return total

    def _jumped(self, above: Cotangents) -> tuple[dict[str, Tensor], Float[Tensor, "row token"]]:
        """The cotangents of all jumps, and their sizes by token."""
        stops, path, directions = self.stops, self.path, self.directions
        rows = len(next(iter(above.values())))
        total = {name: v.real.new_zeros(rows, *v.real.shape) for name, v in path.sources.items()}
        sizes = torch.zeros(rows, path.tokens, dtype=torch.float64, device=stops.low.device)
        for number in range(len(stops.low)):
            size = torch.zeros(rows, path.places, dtype=torch.float64, device=stops.low.device)
            for name in self.images.keys() & above.keys():
                jump = self.after[name][number] - self.before[name][number]
                size = size + path.by_place(self.images[name], above[name].double() * jump.double())
            size = torch.where(stops.change[number], size, 0)
            sizes = sizes + (size if path.places > 1 else size * directions.owner[number])
            for name, direction in self._along(number).items():
                total[name] = total[name] + path.spread(path.sources[name], size) * direction
        return total, sizes

    def _along(self, number: int) -> dict[str, Tensor]:
        """`∇g / (∇g . Δv)` at a stop; where the path only touches `g = 0`, what moves it along."""
        path, directions = self.path, self.directions
        touches = directions.tangential[number]
        square = torch.zeros_like(directions.slope[number])
        for variable in path.sources.values():
            square = square + path.by_place(variable, variable.step.double().square())
        divisor = torch.where(self.stops.change[number], directions.slope[number], 1)
        divisor = torch.where(touches, square, divisor)
        return {
            name: torch.where(
                path.spread(variable, touches.double()) > 0, variable.step, directions.gradients[name][number]
            ) / path.spread(variable, divisor)
            for name, variable in path.sources.items()
        }  # fmt: skip

    def _note(self) -> str:
        touched = int(self.directions.tangential.sum())
        if not touched:
            return ""
        many = touched > 1
        return (
            f"{touched} change{'s' if many else ''} of experts only touch{'' if many else 'es'} the path: "
            f"{'their' if many else 'its'} direction is that of the motion"
        )
