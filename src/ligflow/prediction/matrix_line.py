"""What enters φ along a straight path, from the two ends of it: `p_i(a) = W (ŷ° + a Δŷ) M_i / σ(a) + o_i`.

See `matrix_points` for what the letters mean.
"""

from contextlib import suppress
from copy import copy
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ligflow.layer.model_state import replaced_forwards
from ligflow.prediction.matrices import Matrices, Reached
from ligflow.prediction.path_variable import Variable
from ligflow.prediction.segment import Segment

_BLOCK = 2**11  # terms of a sum at most


@dataclass(frozen=True, eq=False)
class Places:
    """Some points of a path, and `1 / σ` of each token there, in float64."""

    nodes: Float[Tensor, " point"]
    inverse: Float[Tensor, "point example token"]

    def __getitem__(self, part: slice) -> "Places":
        return Places(self.nodes[part], self.inverse[part])


class Line:
    """What enters φ along a path, from the two ends of it: `[example, token, ...]`."""

    def __init__(self, matrices: Matrices, low: Tensor, step: Tensor, products: Tensor | None = None) -> None:
        self._matrices, norm = matrices, matrices.norm
        self._scale: Tensor | None
        self._scale, offset = (None, torch.zeros_like(low[0, 0])) if norm is None else norm.terms(low)
        self._low, self._step = (low, step) if norm is None else (norm.centre(low), norm.centre(step))
        self._offset = torch.cat([matrix.image_of(offset) for matrix in matrices.first], dim=-1)
        first, second = self._low.double(), self._step.double()
        self._squares = [(a * b).sum(-1) for a, b in ((first, first), (first, second), (second, second))]
        if products is None:
            self._ends = self._through(torch.stack([self._low, self._step], dim=-2))
        else:  # of the step not: where both runs are alike, the difference of two products has no digits left
            start = self.places(torch.zeros(1, dtype=torch.float64)).inverse[0, :, :, None].to(low)
            of_low = (products - self._offset) / start
            self._ends = torch.stack([of_low, self._through(self._step)], dim=-2)

    def _through(self, vectors: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch width"]:
        """Vectors through the norm's scale and all matrices in front of φ."""
        scaled = vectors if self._scale is None else self._scale * vectors
        return torch.cat([scaled @ matrix.weight for matrix in self._matrices.first], dim=-1)

    @staticmethod
    def of(segment: Segment, matrices: Matrices, variable: Variable) -> "Line":
        """That of a segment, whose entrance may see v with a shift."""
        low = variable.reference if variable.rows else variable.reference[None]
        step = variable.step if variable.rows else variable.step[None]
        noted = segment.products
        if noted is None or noted.at is not variable.reference:
            return Line(matrices, low + _shift(segment, matrices, low[:1]), step)
        products = noted.of([matrix.module for matrix in matrices.first])
        if noted.entrance is not matrices.entrance:
            low = low + _shift(segment, matrices, low)
        return Line(matrices, low, step, products)

    def __len__(self) -> int:
        """How many examples it is of."""
        return len(self._ends)

    def only(self, rows: Tensor) -> "Line":
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

    def places(self, nodes: Float[Tensor, " point"]) -> Places:
        """Points with `1 / σ` there."""
        low, both, high = self._squares
        if self._matrices.norm is None:
            return Places(nodes, torch.ones_like(low).expand(len(nodes), *low.shape))
        a = nodes.to(low)[:, None, None]
        mean = (low + 2 * a * both + a * a * high) / self._low.shape[-1]
        return Places(nodes, (mean.clamp(min=0) + self._matrices.norm.eps).rsqrt())

    def entering(self, places: Places) -> Float[Tensor, "case token width"]:
        """`p_i` of all matrices at points; those of several examples follow one another."""
        low, step = self._ends.unbind(-2)
        inverse = places.inverse[..., None]
        shift = (inverse * places.nodes.to(inverse)[:, None, None, None]).to(low)
        return torch.addcmul(self._offset, low, inverse.to(low)).addcmul_(step, shift).flatten(0, 1)

    def scalars(
        self,
        places: Places,
        slopes: Float[Tensor, "point case token width"],
        ends: Float[Tensor, "row token 2 width"] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """`s / (D σ²)` and the relevance by token at points, in float64.

        With `ends` (see `ends_by_unit`) slopes are those of an example, for all its rows.
        """
        by_end = self._products(slopes) if ends is None else self._products_of_rows(slopes, ends)
        low, step = by_end.double().unbind(-1)
        if self._matrices.norm is None:
            return torch.zeros_like(step), step
        a = places.nodes.to(step)[:, None, None]
        squares = (low + a * step) * places.inverse.square() / self._low.shape[-1]
        _, both, high = self._squares
        return squares, step - squares * (both + a * high)

    def _products(self, slopes: Float[Tensor, "point row token width"]) -> Float[Tensor, "point row token 2"]:
        """Slopes times what enters at both ends: token by token, which reads each number once."""
        points, rows, *_ = slopes.shape
        by_token = slopes.flatten(0, 1) if len(self._ends) == 1 else slopes.flatten(1, 2)
        ends = self._ends.flatten(0, 1).transpose(1, 2)
        return torch.bmm(by_token.transpose(0, 1), ends).transpose(0, 1).reshape(points, rows, -1, 2)

    def ends_by_unit(self, units: Float[Tensor, "row token width"]) -> Float[Tensor, "row token 2 width"]:
        """What enters φ at both ends, times what its slopes are multiplied with for each row."""
        return units[:, :, None] * self._ends

    def _products_of_rows(
        self, slopes: Float[Tensor, "point case token width"], ends: Float[Tensor, "row token 2 width"]
    ) -> Float[Tensor, "point row token 2"]:
        """The same for rows whose slopes differ by factors, which both ends hold."""
        points, (rows, tokens, *_) = len(slopes), ends.shape
        if len(self._ends) == 1:
            by_token = slopes[:, 0].transpose(0, 1), ends.transpose(0, 1).flatten(1, 2).mT
            return torch.bmm(*by_token).reshape(tokens, points, rows, 2).permute(1, 2, 0, 3)
        by_token = slopes.flatten(1, 2).transpose(0, 1), ends.flatten(0, 1).mT
        return torch.bmm(*by_token).transpose(0, 1).reshape(points, rows, tokens, 2)

    def pulled(
        self, slopes: Float[Tensor, "*rule row token width"], first: Tensor, second: Tensor
    ) -> Float[Tensor, "*rule row token dim"]:
        """Cotangents of v, from sums over points of `c / σ`, `s / (D σ²)` and `a s / (D σ²)`."""
        widths = [matrix.weight.shape[1] for matrix in self._matrices.first]
        parts = zip(slopes.split(widths, dim=-1), self._matrices.first, strict=True)
        with torch.no_grad():
            pulled = sum(product(part, matrix.weight.T) for part, matrix in parts)
            assert isinstance(pulled, Tensor)
            norm = self._matrices.norm
            if norm is None or self._scale is None:
                return pulled
            off = first.to(pulled)[..., None] * self._low + second.to(pulled)[..., None] * self._step
            return norm.centre(self._scale * pulled) - off


def _shift(segment: Segment, matrices: Matrices, like: Float[Tensor, "1 token dim"]) -> Tensor:
    """What the entrance sees where v is 0."""
    taken: list[Tensor] = []

    def enter(value: Tensor, *_args: Any, **_kwargs: Any) -> Tensor:
        taken.append(value)
        raise Reached

    with replaced_forwards({matrices.entrance: enter}), suppress(Reached):
        segment.run({segment.sources[0]: torch.zeros_like(like)})
    return taken[0].reshape(like.shape)


def product(x: Float[Tensor, "*batch width"], matrix: Float[Tensor, "width dim"]) -> Tensor:
    """`x M`. Of a vocabulary it is summed in blocks: in one run over all of it float32 loses four digits."""
    blocks = zip(x.split(_BLOCK, dim=-1), matrix.split(_BLOCK), strict=True)
    first, *others = (part @ of for part, of in blocks)
    return torch.stack([first, *others]).double().sum(0).to(x) if others else first
