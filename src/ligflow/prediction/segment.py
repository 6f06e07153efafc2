"""A segment of a model between two cuts: a map of some path variables to others, for a batch of points."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from jaxtyping import Float
from torch import Tensor, nn

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


@dataclass(frozen=True, eq=False)
class Segment:
    """`F: sources -> images`, run for a batch of points; `tokenwise` if no token depends on another.

    `start` is the level of the quadrature that it begins with: 0 for what may be affine. `implementation` is
    the attention that the model is to have meanwhile. Where examples are not `apart`, all of several go
    through it together. `module` is the layer that it is a part of, where it is one. `choices` are the rows
    of scores among which one run for one point chooses, call by call: where experts change on the path, it
    jumps. `held` names what of the layer is held at the input.
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
    apart: bool = True
    module: nn.Module | None = None
    choices: tuple[int, ...] = ()
    held: str = ""
