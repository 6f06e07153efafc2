"""Points of a path of which a segment reads few tokens: those of these tokens alone, put back among all."""

from collections.abc import Mapping, Sequence
from typing import Protocol, Self

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from ligflow.prediction.path_variable import Variable
from ligflow.prediction.pullback import Cotangents
from ligflow.prediction.segment import FewTokens, Segment


class _Points(Protocol):
    """What points of a segment's path are: see `PlainPoints`."""

    def with_carried(self, nodes: Tensor, carried: Cotangents) -> dict[str, Tensor]: ...
    def at(self, nodes: Tensor) -> None: ...
    def by_token(self, level: int, width: float) -> Tensor: ...
    def cotangents(self, levels: Sequence[int], width: float) -> list[dict[str, Tensor]]: ...
    def only(self, rows: Tensor) -> Self: ...
    def through(self, segment: Segment) -> Self: ...
    def fresh(self) -> Self: ...


class FewPoints:
    """Points of the segment from few tokens, which count for the tokens of the whole segment's source."""

    def __init__(
        self, segment: Segment, few: FewTokens, sources: Mapping[str, Variable], points: _Points
    ) -> None:
        self._segment, self._few, self._points = segment, few, points
        ((self._source, self._variable),) = sources.items()

    def with_carried(
        self, nodes: Float[Tensor, " point"], carried: Cotangents
    ) -> dict[str, Float[Tensor, "row ..."]]:
        """Adds points; the cotangents of errors made above, taken at the first of them."""
        return self._among(self._points.with_carried(nodes, carried))

    def at(self, nodes: Float[Tensor, " point"]) -> None:
        """Adds points."""
        self._points.at(nodes)

    def by_token(self, level: int, width: float) -> Float[Tensor, "row token"]:
        """The relevance by a level's rule."""
        few = self._points.by_token(level, width)
        return functional.pad(self._few.among(few, self._variable.count), (self._variable.offset, 0))

    def cotangents(self, levels: Sequence[int], width: float) -> list[dict[str, Tensor]]:
        """The cotangents of the source by the rules of some levels."""
        return [self._among(of) for of in self._points.cotangents(levels, width)]

    def only(self, rows: Tensor) -> Self:
        """Those of some examples."""
        few = self._few.only(rows)
        points = self._points.only(rows).through(few.segment(self._segment))
        return type(self)(self._segment, few, {self._source: self._variable.only(rows)}, points)

    def fresh(self) -> Self:
        """The same path without points."""
        sources = {self._source: self._variable}
        return type(self)(self._segment, self._few, sources, self._points.fresh())

    def _among(self, few: Cotangents) -> dict[str, Tensor]:
        return {name: self._few.among(tensor, self._variable.count) for name, tensor in few.items()}
