"""Points of a path where the matrices at both ends of the segment are taken off it.

With ŷ = c v the centred input of the norm, `N = W ŷ`, `q = N M` and σ the norm's size, all on a straight path
from their two ends, and `c_i = ∂φ/∂p_i` towards `B m`:

    p_i(a) = q_i(a) / σ(a) + o_i
    J(a)ᵀ m = c [ W Σ_i M_i c_i / σ - ŷ s / (D σ²) ] (+ m),    s = Σ_i c_i . q_i / σ

A point costs φ alone; the matrices are multiplied once for all points. Where φ is unitwise, as an
activation and a gate are, `c_i = d_i ⊙ B m` with `d_i = ∂φ/∂p_i` the same for every m: points are summed as d
then, once for all rows of an answer.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ligflow.layer.model_state import replaced_forwards
from ligflow.layer.rotary_probe import random_noise
from ligflow.method.quadrature_rules import LEVELS
from ligflow.prediction.few_points import FewPoints
from ligflow.prediction.matrices import Matrices, Reached, known_matrices
from ligflow.prediction.matrix_line import Line, Places
from ligflow.prediction.path_points import PlainPoints, PointSums, weights_of
from ligflow.prediction.path_variable import Variable
from ligflow.prediction.pullback import Cotangents, check_finite, points_at_once, pulled_back
from ligflow.prediction.segment import Segment
from ligflow.prediction.segment_errors import relevance_by_token
from ligflow.progress import between_points
from ligflow.recording.tolerances import max_token_error, rounding

_AT_ONCE = 2**21  # numbers in front of φ at most, of all points together: more than that leave the caches
_KEPT = 2**29  # bytes of sums over points at most; with more rows than that each point goes by itself
_OF_ROW = 8  # numbers for each that enters a unitwise φ, of each row


def points_of(segment: Segment, sources: Mapping[str, Variable], above: Cotangents) -> "Points":
    """Points of a segment's path, without the matrices at its ends where these are known."""
    if len(sources) == 1:
        ((name, variable),) = sources.items()
        if segment.few is not None:
            few, first = segment.few, segment.few.only(torch.tensor([0])).segment(segment)
            points = _inner(few.segment(segment), first, {name: few.variable(variable)}, above)
            return FewPoints(segment, few, sources, points)
        return _inner(segment, segment, sources, above)
    return PlainPoints(segment, sources, above)


def _inner(
    segment: Segment, example: Segment, sources: Mapping[str, Variable], above: Cotangents
) -> "PlainPoints | MatrixPoints":
    """Points of a segment of one source, whose matrices are seen where it runs for one `example`."""
    (variable,) = sources.values()
    bare = replace(example, products=None)
    matrices = known_matrices(bare, variable, lambda *found: _right(bare, *found))
    if matrices is not None:
        width = sum(matrix.weight.shape[1] for matrix in matrices.first)
        (rows,) = {len(tensor) for tensor in above.values()}
        copies = LEVELS * rows
        if matrices.unitwise:  # sums of examples, and of each row its units, ends, and two levels of slopes
            copies = LEVELS * (rows if variable.rows else 1) + _OF_ROW * rows
        if copies * variable.count * width * variable.real.element_size() <= _KEPT:
            return MatrixPoints(segment, matrices, sources, above)
    return PlainPoints(segment, sources, above)


def _right(segment: Segment, matrices: Matrices, probes: Tensor) -> bool:
    """Whether cotangents are those of autograd, on a path between two random points."""
    (source,), (image,) = segment.sources, segment.images
    variables = {source: Variable(probes[0], probes[1])}
    with torch.no_grad():
        given = segment.run({source: probes[:1]})[image]
    above = {image: random_noise(given.shape, 2).to(given)}
    points = MatrixPoints(segment, matrices, variables, above)
    if not points.runs(probes):
        return False
    for node in (0.3, 0.8):
        at, points = torch.tensor([node], dtype=torch.float64), points.fresh()
        try:
            points.at(at)
        except (RuntimeError, ValueError):  # φ has another form than the matrices say
            return False
        ours, theirs = points.cotangents([0], 1.0)[0], pulled_back(segment, variables, above, {}, at)[0]
        own, true = points.by_token(0, 1.0), relevance_by_token(variables, {source: theirs[source][0]})
        if not max_token_error(ours[source], theirs[source][0]) <= 30 * rounding(probes):
            return False
        if not float((own - true).abs().max()) <= 30 * rounding(probes) * float(true.abs().max()):
            return False
    return True


class MatrixPoints:
    """Points each of which costs what stands between the matrices."""

    def __init__(
        self, segment: Segment, matrices: Matrices, sources: Mapping[str, Variable], above: Cotangents
    ) -> None:
        self._segment, self._matrices, self._sources, self._above = segment, matrices, sources, above
        ((self._source, self._variable),) = sources.items()
        ((_, self._towards),) = above.items()
        with torch.no_grad():
            self._line = Line.of(segment, matrices, self._variable)
            tops = self._behind(self._towards)
            self._units = self._by_unit(tops)
            self._ends = None if self._units is None else self._line.ends_by_unit(self._units)
            self._tops = tops if self._units is None else torch.ones_like(tops[: len(self._line)])
        self._slopes = PointSums()  # of c / σ; where φ is unitwise of d / σ
        self._squares: list[Tensor] = []  # s / (D σ²)
        self._shares: list[Tensor] = []  # relevance by token
        self._nodes: list[Tensor] = []

    def with_carried(
        self, nodes: Float[Tensor, " point"], carried: Cotangents
    ) -> dict[str, Float[Tensor, "row ..."]]:
        """Adds points; the cotangents of errors made above, taken at the first of them."""
        if not carried:
            self.at(nodes)
            return {}
        (errors,) = carried.values()
        first, tops = nodes[:1], self._behind(errors)
        units = self._by_unit(tops)
        extra = self._with_extra(nodes, tops if units is None else None)
        ends = None if units is None else self._line.ends_by_unit(units)
        squares, _ = self._line.scalars(self._line.places(first), extra, ends)
        extra = extra if units is None else extra * units
        pulled = self._line.pulled(extra[0], squares[0], first * squares[0].to(first))
        return {self._source: pulled + errors if self._matrices.residual else pulled}

    def _behind(self, cotangents: Float[Tensor, "row *image"]) -> Float[Tensor, "row *own"]:
        """Cotangents of what φ gives."""
        last = self._matrices.last
        return cotangents if last is None else cotangents @ last.weight.T

    def _by_unit(self, tops: Float[Tensor, "row *own"]) -> Float[Tensor, "row token width"] | None:
        """What the derivatives of a unitwise φ are multiplied with."""
        return tops.repeat(1, 1, len(self._matrices.first)) if self._matrices.unitwise else None

    def _with_extra(
        self, nodes: Float[Tensor, " point"], tops: Float[Tensor, "row *own"] | None
    ) -> Float[Tensor, "1 row token width"]:
        """Adds points; the slopes of other cotangents at the first of them, or its own."""
        first, count = nodes[:1], self._at_once
        if tops is None:
            slopes = self._block(nodes[:count])
            self.at(nodes[count:])
            return slopes[:1]
        count = min(len(nodes), max(1, self._at_once - 1))
        if self._at_once > 1:  # the first once more, beside the others
            places = self._line.places(torch.cat([nodes[:count], first]))
            towards = torch.cat([self._tops.expand(count, *self._tops.shape), tops[None]])
            [slopes] = self._slopes_at(places, [towards])
            own, extra = slopes[:-1], slopes[-1:]
        else:
            places = self._line.places(first)
            own, extra = self._slopes_at(places, [self._tops[None], tops[None]])
        self._add(places[:count], own)
        self.at(nodes[count:])
        return extra

    def at(self, nodes: Float[Tensor, " point"]) -> None:
        """Adds points."""
        for block in nodes.split(self._at_once) if len(nodes) else ():
            between_points()
            self._block(block)

    def _block(self, nodes: Float[Tensor, " point"]) -> Float[Tensor, "point case token width"]:
        """Adds points that go through φ together; their slopes."""
        places = self._line.places(nodes)
        (slopes,) = self._slopes_at(places, [self._tops.expand(len(nodes), *self._tops.shape)])
        self._add(places, slopes)
        return slopes

    @property
    def _at_once(self) -> int:
        """How many points go through φ together."""
        size = len(self._tops) * self._variable.count * self._line.width
        return min(points_at_once(self._sources), max(1, _AT_ONCE // size))

    def _add(self, places: Places, slopes: Tensor) -> None:
        squares, shares = self._line.scalars(places, slopes, self._ends)
        self._nodes.append(places.nodes)
        self._slopes.add(slopes)
        self._squares.append(squares)
        self._shares.append(shares)

    def _slopes_at(
        self, places: Places, towards: Sequence[Float[Tensor, "point row *own"]]
    ) -> list[Float[Tensor, "point row token width"]]:
        """`c / σ` at some points, for each of several cotangents of φ there."""
        rows = self._variable.rows
        with torch.enable_grad():
            entering = self._line.entering(places).requires_grad_()
            output = self._between(entering)
            check_finite(self._segment, output)
        pulled, inverse = [], places.inverse[..., None].to(entering)
        for top in towards:
            grads = [
                torch.autograd.grad(output, entering, each.reshape(output.shape), retain_graph=True)[0]
                for each in ([top] if rows else top.unbind(1))
            ]
            if rows:
                slopes = grads[0].unflatten(0, (len(places.nodes), -1))
            else:
                slopes = grads[0][:, None] if len(grads) == 1 else torch.stack(grads, 1)
            pulled.append(slopes.mul_(inverse))
        return pulled

    def runs(self, probes: Float[Tensor, "point token dim"]) -> bool:
        """Whether φ runs without what is left out, and depends on what enters it."""
        entering = probes.new_ones(*probes.shape[:2], self._line.width).requires_grad_()
        try:
            with torch.enable_grad():
                return self._between(entering).requires_grad
        except (RuntimeError, ValueError, TypeError, AttributeError):
            return False

    def _between(self, entering: Float[Tensor, "example token width"]) -> Tensor:
        """φ: what the last matrix takes, or the image."""
        matrices = self._matrices
        widths = [matrix.weight.shape[1] for matrix in matrices.first]
        parts = dict(zip([m.module for m in matrices.first], entering.split(widths, dim=-1), strict=True))
        caught: list[Tensor] = []

        def stop(taken: Tensor, *_args: Any, **_kwargs: Any) -> Tensor:
            caught.append(taken)
            raise Reached

        forwards: dict[nn.Module, Callable[..., Any]] = {
            module: _given(part) for module, part in parts.items()
        }
        forwards |= {module: _empty(width) for module, width in matrices.idle.items()}
        if matrices.norm is not None:
            forwards[matrices.norm.module] = lambda taken, *_args, **_kwargs: taken
        if matrices.last is not None:
            forwards[matrices.last.module] = stop
        value = entering.new_zeros(()).expand(*entering.shape[:2], self._variable.real.shape[-1])
        with replaced_forwards(forwards):
            try:
                if matrices.around is not None:
                    matrices.around(value)
                return self._segment.run({self._source: value})[self._segment.images[0]]
            except Reached:
                return caught[0]

    def by_token(self, level: int, width: float) -> Float[Tensor, "row token"]:
        """The relevance by a level's rule."""
        weights = weights_of(level, width)
        total = torch.tensordot(weights.to(self._shares[0]), self._joined(self._shares, weights), dims=1)
        if self._matrices.residual:
            total = total + width * self._rest
        return nn.functional.pad(total, (self._variable.offset, 0)) if self._variable.offset else total

    @cached_property
    def _rest(self) -> Float[Tensor, "row token"]:
        """The relevance of v where it is itself added."""
        return self._variable.by_token(self._towards.double() * self._variable.step.double())

    def _joined(self, tensors: list[Tensor], weights: Tensor) -> Tensor:
        return torch.cat(tensors)[: len(weights)]

    def cotangents(self, levels: Sequence[int], width: float) -> list[dict[str, Tensor]]:
        """The cotangents of the source by the rules of some levels."""
        rules = torch.zeros(len(levels), sum(map(len, self._nodes)), dtype=torch.float64)
        for rule, level in zip(rules, levels, strict=True):
            weights = weights_of(level, width)
            rule[: len(weights)] = weights
        slopes = torch.stack([self._slopes.of(level, width) for level in levels])
        slopes = slopes if self._units is None else slopes * self._units
        squares, nodes = torch.cat(self._squares), torch.cat(self._nodes)
        first, second = (
            torch.tensordot(each.to(squares), squares, dims=1) for each in (rules, rules * nodes)
        )
        pulled = self._line.pulled(slopes, first, second)
        return [{self._source: self._with_residual(own, width)} for own in pulled]

    def _with_residual(self, pulled: Tensor, width: float) -> Tensor:
        return pulled + width * self._towards if self._matrices.residual else pulled

    def only(self, rows: Tensor) -> "MatrixPoints":
        """Those of some examples."""
        sources = {name: variable.only(rows) for name, variable in self._sources.items()}
        above = {name: tensor[rows] for name, tensor in self._above.items()}
        part = copy(self)
        part._sources, part._above, part._line = sources, above, self._line.only(rows)
        part._variable, part._towards, part._tops = (
            sources[self._source], self._towards[rows], self._tops[rows],
        )  # fmt: skip
        part._units, part._ends = (None if of is None else of[rows] for of in (self._units, self._ends))
        vars(part).pop("_rest", None)
        part._nodes = [*self._nodes]
        part._slopes = self._slopes.only(rows)
        part._squares, part._shares = (
            [tensor[:, rows] for tensor in tensors] for tensors in (self._squares, self._shares)
        )
        return part

    def through(self, segment: Segment) -> "MatrixPoints":
        """The same points of a segment that computes the same for these examples."""
        part = copy(self)
        part._segment = segment
        return part

    def fresh(self) -> "MatrixPoints":
        """The same path without points."""
        part = copy(self)
        part._slopes, part._squares, part._shares, part._nodes = PointSums(), [], [], []
        return part


def _given(part: Tensor) -> Callable[..., Tensor]:
    return lambda taken, *_args, **_kwargs: part.reshape(*taken.shape[:-1], part.shape[-1])


def _empty(width: int) -> Callable[..., Tensor]:
    return lambda taken, *_args, **_kwargs: taken.new_zeros(()).expand(*taken.shape[:-1], width)


Points = PlainPoints | MatrixPoints | FewPoints
