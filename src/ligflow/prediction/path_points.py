"""Points of a segment's path: cotangents at each, and what rules of points make of them."""

from collections.abc import Mapping, Sequence
from copy import copy
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

from ligflow.method.quadrature_rules import LEVELS, patterson_weights
from ligflow.prediction.path_variable import Variable
from ligflow.prediction.pullback import Cotangents, points_at_once, pulled_back
from ligflow.prediction.segment import Segment
from ligflow.prediction.segment_errors import relevance_by_token
from ligflow.progress import between_points

_OF_VOCABULARY = 16  # times fewer points at once


def weights_of(level: int, width: float) -> Float[Tensor, " point"]:
    """The weights of a level's points on a part of a path."""
    return _weights(level) * width


@cache
def _weights(level: int) -> Float[Tensor, " point"]:
    return torch.from_numpy(patterson_weights(level) / 2)


class PointSums:
    """`Σ_i w_i x_i` over points by the rules of all levels: of long texts no point itself is kept.

    Points are added in the order of the rules, which are nested: the first belong to all levels.
    """

    def __init__(self) -> None:
        self._sums: Tensor | None = None
        self._count = 0

    def add(self, points: Float[Tensor, "point *own"]) -> None:
        """Adds points, of which no more are kept than a sum for each level."""
        first = next(level for level in range(LEVELS) if _RULES[level, self._count])
        rules = _RULES[first:, self._count : self._count + len(points)].to(points)
        if self._sums is None:
            self._sums = torch.tensordot(rules, points, dims=1)
        else:
            self._sums[first:].flatten(1).addmm_(rules, points.flatten(1))
        self._count += len(points)

    def of(self, level: int, width: float) -> Float[Tensor, "*own"]:
        """The sum by a level's rule on a part of a path so wide."""
        assert self._sums is not None
        return self._sums[level] * width

    def only(self, rows: Tensor) -> "PointSums":
        """Those of some rows of every point."""
        part = copy(self)
        part._sums = None if self._sums is None else self._sums[:, rows]
        return part


def _rules() -> Float[Tensor, "level point"]:
    rules = torch.zeros(LEVELS, 2**LEVELS - 1, dtype=torch.float64)
    for level, rule in enumerate(rules):
        weights = weights_of(level, 1.0)
        rule[: len(weights)] = weights
    return rules


_RULES = _rules()


class PlainPoints:
    """Points each of which is one forward and one backward of the segment."""

    def __init__(self, segment: Segment, sources: Mapping[str, Variable], above: Cotangents) -> None:
        self._segment, self._sources, self._above = segment, sources, above
        self._sums = {name: PointSums() for name in sources}

    def with_carried(
        self, nodes: Float[Tensor, " point"], carried: Cotangents
    ) -> dict[str, Float[Tensor, "row ..."]]:
        """Adds points; the cotangents of errors made above, taken at the first of them."""
        first, extra = pulled_back(self._segment, self._sources, self._above, carried, nodes[:1])
        self._add(first)
        self.at(nodes[1:])
        return extra

    def at(self, nodes: Float[Tensor, " point"]) -> None:
        """Adds points."""
        count = points_at_once(self._sources)
        if self._segment.kind == "head":  # of each token a number for every word of a vocabulary, in float64
            count = max(1, count // _OF_VOCABULARY)
        for block in nodes.split(count) if len(nodes) else ():
            between_points()
            self._add(pulled_back(self._segment, self._sources, self._above, {}, block)[0])

    def _add(self, more: Mapping[str, Tensor]) -> None:
        for name, tensor in more.items():
            self._sums[name].add(tensor)

    def by_token(self, level: int, width: float) -> Float[Tensor, "row token"]:
        """The relevance by a level's rule."""
        return relevance_by_token(self._sources, self._of_level(level, width))

    def cotangents(self, levels: Sequence[int], width: float) -> list[dict[str, Tensor]]:
        """The cotangents of the sources by the rules of some levels."""
        return [self._of_level(level, width) for level in levels]

    def _of_level(self, level: int, width: float) -> dict[str, Tensor]:
        return {name: sums.of(level, width) for name, sums in self._sums.items()}

    def only(self, rows: Tensor) -> "PlainPoints":
        """Those of some examples."""
        sources = {name: variable.only(rows) for name, variable in self._sources.items()}
        above = {name: tensor[rows] for name, tensor in self._above.items()}
        part = PlainPoints(self._segment, sources, above)
        part._sums = {name: sums.only(rows) for name, sums in self._sums.items()}
        return part

    def through(self, segment: Segment) -> "PlainPoints":
        """The same points of a segment that computes the same for these examples."""
        part = copy(self)
        part._segment = segment
        return part

    def fresh(self) -> "PlainPoints":
        """The same path without points."""
        return PlainPoints(self._segment, self._sources, self._above)
