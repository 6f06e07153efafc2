"""A segment of a model between two cuts: a map of some path variables to others, for a batch of points."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

Values = Mapping[str, Tensor]  # a path variable's values, one for each point of a path: [point, ...]


@dataclass(frozen=True, eq=False)
class Variable:
    """A tensor that differs between the two runs, of one example: without the axis of points.

    `axis` is that of the tokens, which begin at `offset` on the axis of all tokens; -1 where it has no
    tokens (the score). `late` are those that are no hidden states of a layer.
    """

    real: Float[Tensor, "*own"]
    reference: Float[Tensor, "*own"]
    axis: int = 0
    offset: int = 0
    late: bool = False

    @property
    def step(self) -> Float[Tensor, "*own"]:
        """`Δv = v - v°`."""
        return self.real - self.reference

    def at(self, nodes: Float[Tensor, " point"]) -> Float[Tensor, "point *own"]:
        """`v(a) = v° + a Δv` at points of the straight path from the reference to the input."""
        shape = (len(nodes), *[1] * self.real.ndim)
        return self.reference + nodes.to(self.real).reshape(shape) * self.step

    def by_token(self, products: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Products of numbers, summed over all axes but that of the tokens."""
        batch = products.ndim - self.real.ndim
        others = [batch + axis for axis in range(self.real.ndim) if axis != self.axis]
        return products.double().sum(others) if others else products.double()


@dataclass(frozen=True, eq=False)
class Segment:
    """`F: sources -> images`, run for a batch of points; `tokenwise` if no token depends on another.

    `start` is the level of the quadrature that it begins with: 0 for what may be affine. `implementation` is
    the attention that the model is to have meanwhile.
    """

    name: str
    layer: int | None
    kind: str
    sources: tuple[str, ...]
    images: tuple[str, ...]
    run: Callable[[Values], Values]
    tokenwise: bool = False
    start: int = 2
    implementation: str | None = None
