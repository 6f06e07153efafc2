"""Points of a path where the matrices at both ends of the segment are taken off it.

With ŷ = c v the centred input of the norm, `N = W ŷ`, `q = N M` and σ the norm's size, all on a straight path
from their two ends, and `c_i = ∂φ/∂p_i` towards `B m`:

    p_i(a) = q_i(a) / σ(a) + o_i
    J(a)ᵀ m = c [ W Σ_i M_i c_i / σ - ŷ s / (D σ²) ] (+ m),    s = Σ_i c_i . q_i / σ

A point costs φ alone; the matrices are multiplied once for all points.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ligflow.layer.model_state import replaced_forwards
from ligflow.layer.rotary_probe import random_noise
from ligflow.method.quadrature_rules import LEVELS
from ligflow.prediction.few_points import FewPoints
from ligflow.prediction.matrices import Matrices, Reached, known_matrices
from ligflow.prediction.path_points import PlainPoints, PointSums, weights_of
from ligflow.prediction.path_variable import Variable
from ligflow.prediction.pullback import Cotangents, check_finite, points_at_once, pulled_back
from ligflow.prediction.segment import Segment
from ligflow.prediction.segment_errors import relevance_by_token
from ligflow.progress import between_points
from ligflow.recording.tolerances import max_token_error, rounding

_BLOCK = 2**11  # terms of a sum at most
_AT_ONCE = 2**21  # numbers in front of φ at most, of all points together: more than that leave the caches
_KEPT = 2**29  # bytes of sums over points at most; with more rows than that each point goes by itself


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
    matrices = known_matrices(example, variable, lambda *found: _right(example, *found))
    if matrices is not None:
        width = sum(matrix.weight.shape[1] for matrix in matrices.first)
        (rows,) = {len(tensor) for tensor in above.values()}
        if LEVELS * rows * variable.count * width * variable.real.element_size() <= _KEPT:
            return MatrixPoints(segment, matrices, sources, above)
    return PlainPoints(segment, sources, above)


def _right(segment: Segment, matrices: Matrices, probes: Tensor) -> bool:
    """Whether cotangents are those of autograd, on a path between two random points."""
    (source,), (image,) = segment.sources, segment.images
    variables = {source: Variable(probes[0], probes[1])}
    with torch.no_grad():
        given = segment.run({source: probes[:1]})[image]
    above = {image: random_noise(given.shape, 2).to(given)}
    points: MatrixPoints | None = None
    for node in (0.3, 0.8):
        at = torch.tensor([node], dtype=torch.float64)
        try:
            points = MatrixPoints(segment, matrices, variables, above) if points is None else points.fresh()
            points.at(at)
        except (RuntimeError, ValueError, TypeError, AttributeError):  # it needs what is left out
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
            self._line = _Line.of(segment, matrices, self._variable)
            last = matrices.last
            self._tops = self._towards if last is None else self._towards @ last.weight.T
        self._slopes = PointSums()  # of c / σ
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
        first, last = nodes[:1], self._matrices.last
        tops = errors if last is None else errors @ last.weight.T
        block = nodes[: max(1, self._at_once - 1)]
        if self._at_once > 1:  # the first once more, beside the others
            towards = torch.cat([self._tops.expand(len(block), *self._tops.shape), tops[None]])
            [slopes] = self._slopes_at(torch.cat([block, first]), [towards])
            own, extra = slopes[:-1], slopes[-1:]
        else:
            own, extra = self._slopes_at(first, [self._tops[None], tops[None]])
        self._add(block, own)
        squares, _ = self._line.scalars(first, extra)
        pulled = self._line.pulled(extra[0], squares[0], first * squares[0].to(first))
        self.at(nodes[len(block) :])
        return {self._source: pulled + errors if self._matrices.residual else pulled}

    def at(self, nodes: Float[Tensor, " point"]) -> None:
        """Adds points."""
        for block in nodes.split(self._at_once) if len(nodes) else ():
            between_points()
            self._add(block, *self._slopes_at(block, [self._tops.expand(len(block), *self._tops.shape)]))

    @property
    def _at_once(self) -> int:
        """How many points go through φ together."""
        size = self._towards.shape[0] * self._variable.count * self._line.width
        return min(points_at_once(self._sources), max(1, _AT_ONCE // size))

    def _add(self, nodes: Tensor, slopes: Tensor) -> None:
        squares, shares = self._line.scalars(nodes, slopes)
        self._nodes.append(nodes)
        self._slopes.add(slopes)
        self._squares.append(squares)
        self._shares.append(shares)

    def _slopes_at(
        self, nodes: Tensor, towards: Sequence[Float[Tensor, "point row *own"]]
    ) -> list[Float[Tensor, "point row token width"]]:
        """`c / σ` at some points, for each of several cotangents of φ there."""
        line, rows = self._line, self._variable.rows
        with torch.enable_grad():
            entering = line.entering(nodes).requires_grad_()
            output = self._between(entering)
            check_finite(self._segment, output)
        pulled, inverse = [], line.inverse(nodes)[..., None].to(entering)
        for top in towards:
            grads = [
                torch.autograd.grad(output, entering, each.reshape(output.shape), retain_graph=True)[0]
                for each in ([top] if rows else top.unbind(1))
            ]
            if rows:
                slopes = grads[0].unflatten(0, (len(nodes), -1))
            else:
                slopes = grads[0][:, None] if len(grads) == 1 else torch.stack(grads, 1)
            pulled.append(slopes.mul_(inverse))
        return pulled

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
            total = total + width * self._variable.by_token(
                self._towards.double() * self._variable.step.double()
            )
        return nn.functional.pad(total, (self._variable.offset, 0))

    def _joined(self, tensors: list[Tensor], weights: Tensor) -> Tensor:
        return torch.cat(tensors)[: len(weights)]

    def cotangents(self, levels: Sequence[int], width: float) -> list[dict[str, Tensor]]:
        """The cotangents of the source by the rules of some levels."""
        rules = torch.zeros(len(levels), sum(map(len, self._nodes)), dtype=torch.float64)
        for rule, level in zip(rules, levels, strict=True):
            weights = weights_of(level, width)
            rule[: len(weights)] = weights
        slopes = torch.stack([self._slopes.of(level, width) for level in levels])
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


def _product(x: Float[Tensor, "*batch width"], matrix: Float[Tensor, "width dim"]) -> Tensor:
    """`x M`. Of a vocabulary it is summed in blocks: in one run over all of it float32 loses four digits."""
    blocks = zip(x.split(_BLOCK, dim=-1), matrix.split(_BLOCK), strict=True)
    first, *others = (part @ of for part, of in blocks)
    return torch.stack([first, *others]).double().sum(0).to(x) if others else first


def _given(part: Tensor) -> Callable[..., Tensor]:
    return lambda taken, *_args, **_kwargs: part.reshape(*taken.shape[:-1], part.shape[-1])


def _empty(width: int) -> Callable[..., Tensor]:
    return lambda taken, *_args, **_kwargs: taken.new_zeros(()).expand(*taken.shape[:-1], width)


class _Line:
    """What enters φ along a path, from the two ends of it: `[example, token, ...]`."""

    def __init__(self, matrices: Matrices, low: Tensor, step: Tensor) -> None:
        self._matrices, norm = matrices, matrices.norm
        self._scale: Tensor | None
        self._scale, offset = (None, torch.zeros_like(low[0, 0])) if norm is None else norm.terms(low)
        self._low, self._step = (low, step) if norm is None else (norm.centre(low), norm.centre(step))
        ends = torch.stack([self._low, self._step], dim=-2)
        ends = ends if self._scale is None else self._scale * ends
        self._ends = torch.cat([ends @ m.weight for m in matrices.first], dim=-1)
        offset = offset[None, None]
        self._offset = torch.cat([m.module(offset)[0, 0] for m in matrices.first], dim=-1)
        first, second = self._low.double(), self._step.double()
        self._squares = [(a * b).sum(-1) for a, b in ((first, first), (first, second), (second, second))]

    @staticmethod
    def of(segment: Segment, matrices: Matrices, variable: Variable) -> "_Line":
        """That of a segment, whose entrance may see v with a shift."""
        low = variable.reference if variable.rows else variable.reference[None]
        step = variable.step if variable.rows else variable.step[None]
        caught: list[Tensor] = []

        def enter(taken: Tensor, *_args: Any, **_kwargs: Any) -> Tensor:
            caught.append(taken)
            raise Reached

        with replaced_forwards({matrices.entrance: enter}):
            try:
                segment.run({segment.sources[0]: torch.zeros_like(low[:1])})
            except Reached:
                shift = caught[0].reshape(low[:1].shape)
        return _Line(matrices, low + shift, step)

    def only(self, rows: Tensor) -> "_Line":
        """Those of some examples."""
        part = copy(self)
        part._low, part._step = self._low[rows], self._step[rows]
        part._ends = self._ends[rows]
        part._squares = [square[rows] for square in self._squares]
        return part

    @property
    def width(self) -> int:
        """How many numbers of a token enter φ."""
        return self._offset.shape[-1]

    def inverse(self, nodes: Tensor) -> Float[Tensor, "point example token"]:
        """`1 / σ` at points."""
        low, both, high = self._squares
        if self._matrices.norm is None:
            return torch.ones_like(low).expand(len(nodes), *low.shape)
        a = nodes.to(low)[:, None, None]
        mean = (low + 2 * a * both + a * a * high) / self._low.shape[-1]
        return (mean.clamp(min=0) + self._matrices.norm.eps).rsqrt()

    def entering(self, nodes: Tensor) -> Float[Tensor, "case token width"]:
        """`p_i` of all matrices at points; those of several examples follow one another."""
        low, step = self._ends.unbind(-2)
        inverse = self.inverse(nodes)[..., None]
        shift = (inverse * nodes.to(inverse)[:, None, None, None]).to(low)
        return torch.addcmul(self._offset, low, inverse.to(low)).addcmul_(step, shift).flatten(0, 1)

    def scalars(self, nodes: Tensor, slopes: Float[Tensor, "point row token width"]) -> tuple[Tensor, Tensor]:
        """`s / (D σ²)` and the relevance by token at points, in float64."""
        low, step = self._products(slopes).double().unbind(-1)
        if self._matrices.norm is None:
            return torch.zeros_like(step), step
        a = nodes.to(step)[:, None, None]
        squares = (low + a * step) * self.inverse(nodes).square() / self._low.shape[-1]
        _, both, high = self._squares
        return squares, step - squares * (both + a * high)

    def _products(self, slopes: Float[Tensor, "point row token width"]) -> Float[Tensor, "point row token 2"]:
        """Slopes times what enters at both ends: token by token, which reads each number once."""
        points, rows, *_ = slopes.shape
        by_token = slopes.flatten(0, 1) if len(self._ends) == 1 else slopes.flatten(1, 2)
        ends = self._ends.flatten(0, 1).transpose(1, 2)
        return torch.bmm(by_token.transpose(0, 1), ends).transpose(0, 1).reshape(points, rows, -1, 2)

    def pulled(
        self, slopes: Float[Tensor, "*rule row token width"], first: Tensor, second: Tensor
    ) -> Float[Tensor, "*rule row token dim"]:
        """Cotangents of v, from sums over points of `c / σ`, `s / (D σ²)` and `a s / (D σ²)`."""
        widths = [matrix.weight.shape[1] for matrix in self._matrices.first]
        parts = zip(slopes.split(widths, dim=-1), self._matrices.first, strict=True)
        with torch.no_grad():
            pulled = sum(_product(part, matrix.weight.T) for part, matrix in parts)
            assert isinstance(pulled, Tensor)
            norm = self._matrices.norm
            if norm is None or self._scale is None:
                return pulled
            off = first.to(pulled)[..., None] * self._low + second.to(pulled)[..., None] * self._step
            return norm.centre(self._scale * pulled) - off


Points = PlainPoints | MatrixPoints | FewPoints
