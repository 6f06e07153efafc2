"""Points of a segment's path: cotangents at each, and what rules of points make of them."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ligflow.method.quadrature_rules import patterson_weights
from ligflow.prediction.pullback import Cotangents, points_at_once, pulled_back
from ligflow.prediction.segment import Segment, Variable
from ligflow.prediction.segment_errors import relevance_by_token


def weights_of(level: int, width: float) -> Float[Tensor, " point"]:
    """The weights of a level's points on a part of a path."""
    return torch.from_numpy(patterson_weights(level) / 2 * width)


class PlainPoints:
    """Points each of which is one forward and one backward of the segment."""

    def __init__(self, segment: Segment, sources: Mapping[str, Variable], above: Cotangents) -> None:
        self._segment, self._sources, self._above = segment, sources, above
        self._points: dict[str, list[Tensor]] = {name: [] for name in sources}

    def with_carried(self, node: Tensor, carried: Cotangents) -> dict[str, Tensor]:
        """Adds one point; the cotangents of errors made above, taken there."""
        middle, extra = pulled_back(self._segment, self._sources, self._above, carried, node)
        self._add(middle)
        return extra

    def at(self, nodes: Float[Tensor, " point"]) -> None:
        """Adds points."""
        for block in nodes.split(points_at_once(self._sources)) if len(nodes) else ():
            self._add(pulled_back(self._segment, self._sources, self._above, {}, block)[0])

    def _add(self, more: Mapping[str, Tensor]) -> None:
        for name, tensor in more.items():
            self._points[name].append(tensor)

    def by_token(self, level: int, width: float) -> Float[Tensor, "row token"]:
        """The relevance by a level's rule."""
        return relevance_by_token(self._sources, self._of_level(level, width))

    def cotangents(self, levels: Sequence[int], width: float) -> list[dict[str, Tensor]]:
        """The cotangents of the sources by the rules of some levels."""
        return [self._of_level(level, width) for level in levels]

    def _of_level(self, level: int, width: float) -> dict[str, Tensor]:
        weights, sums = weights_of(level, width), {}
        for name, tensors in self._points.items():
            total, at = torch.zeros_like(tensors[0][0]), 0
            for tensor in tensors:
                own = weights[at : at + len(tensor)].to(tensor)
                total = total + torch.tensordot(own, tensor[: len(own)], dims=1) if len(own) else total
                at += len(tensor)
            sums[name] = total
        return sums

    def only(self, rows: Tensor) -> "PlainPoints":
        """Those of some examples."""
        sources = {name: variable.only(rows) for name, variable in self._sources.items()}
        above = {name: tensor[rows] for name, tensor in self._above.items()}
        part = PlainPoints(self._segment, sources, above)
        part._points = {name: [t[:, rows] for t in tensors] for name, tensors in self._points.items()}
        return part

    def fresh(self) -> "PlainPoints":
        """The same path without points."""
        return PlainPoints(self._segment, self._sources, self._above)
