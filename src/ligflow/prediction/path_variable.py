"""A path variable: a tensor that differs between the two runs, and its values along the path between them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from jaxtyping import Float
from torch import Tensor

Values = Mapping[str, Tensor]  # a path variable's values, one for each point of a path: [point, ...]


@dataclass(frozen=True, eq=False)
class Variable:
    """A tensor that differs between the two runs, of one example: without the axis of points.

    `axis` is that of the tokens, which begin at `offset` on the axis of all tokens; -1 where it has no
    tokens (the score). `late` are those that are no hidden states of a layer. With `rows` it is of several
    examples, `[row, *own]`, each with a score of its own.
    """

    real: Float[Tensor, "*own"]
    reference: Float[Tensor, "*own"]
    axis: int = 0
    offset: int = 0
    late: bool = False
    rows: bool = False

    @property
    def count(self) -> int:
        """The number of its tokens."""
        return self.real.shape[self.axis + self.rows] if self.axis >= 0 else 1

    @property
    def step(self) -> Float[Tensor, "*own"]:
        """`Δv = v - v°`."""
        return self.real - self.reference

    def at(self, nodes: Float[Tensor, " point"]) -> Float[Tensor, "example *own"]:
        """`v(a) = v° + a Δv` at points of the straight path from the reference to the input.

        Of several examples, those of one point follow one another.
        """
        shape = (len(nodes), *[1] * self.real.ndim)
        values = self.reference + nodes.to(self.real).reshape(shape) * self.step
        return values.flatten(0, 1) if self.rows else values

    def only(self, rows: Tensor) -> "Variable":
        """Some of several examples."""
        return replace(self, real=self.real[rows], reference=self.reference[rows])

    def of(self, row: int) -> "Variable":
        """One of several examples; one example as it is."""
        if not self.rows:
            return self
        return replace(self, real=self.real[row], reference=self.reference[row], rows=False)

    def by_token(self, products: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Products of numbers, summed over all axes but that of the tokens."""
        axes = self.real.ndim - self.rows
        batch = products.ndim - axes
        others = [batch + axis for axis in range(axes) if axis != self.axis]
        return products.double().sum(others) if others else products.double()
