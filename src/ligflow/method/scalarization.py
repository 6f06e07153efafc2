"""From a vector that moved to one number: L2 norm, projection on the end, or a direction.

Write `moved = F(a) - F(0)` and `end = F(1) - F(0)`. Every scalarisation of ligflow is
`L = <c, moved>` with a cotangent `c = dL/dF` ([suzuki2026], section 3):

| name | c | L(1) |
|---|---|---|
| `l2` | moved / ||moved|| | ||end|| |
| `projection` | end / ||end|| | ||end|| |
| `direction(v)` | v | <v, end> |

A scalarisation is a small frozen object with a `name`, its word in the header of a flow, a `value` L and its
`cotangent`. A new one is one more class.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from ligflow.errors import LigflowError
from ligflow.method.baselines import Held


@runtime_checkable
class CustomScalarization(Protocol):
    """What a caller's own scalarisation needs: a name, L and its derivative by F.

    `moved` is `F(a) - F(0)` at points of the path, `end` is `F(1) - F(0)`. L is 0 where nothing moved, and
    its cotangent is finite there.
    """

    @property
    def name(self) -> str:
        """Its word in the header of a flow."""

    def value(
        self, moved: Float[Tensor, "*batch target scalar dim"], end: Float[Tensor, "target scalar dim"], /
    ) -> Float[Tensor, "*batch target scalar"]:
        """`L(a) - L(0)`."""

    def cotangent(
        self, moved: Float[Tensor, "*batch target scalar dim"], end: Float[Tensor, "target scalar dim"], /
    ) -> Float[Tensor, "*batch target scalar dim"]:
        """`dL/dF`."""


class Scalarization:
    """From a vector that moved to one number."""

    @property
    def name(self) -> str:
        """Its word in the header of a flow."""
        raise NotImplementedError

    @property
    def cancels(self) -> str:
        """What it is called in a warning where contributions of opposite sign may cancel; else empty."""
        return ""

    def cotangent(
        self, moved: Float[Tensor, "*batch target scalar dim"], end: Float[Tensor, "target scalar dim"]
    ) -> Float[Tensor, "*batch target scalar dim"]:
        """`c = dL/dF` where F has moved by `moved`; 0 where a norm is 0 (its subgradient)."""
        raise NotImplementedError

    def value(
        self, moved: Float[Tensor, "*batch target scalar dim"], end: Float[Tensor, "target scalar dim"]
    ) -> Float[Tensor, "*batch target scalar"]:
        """`L(a) - L(0) = <c, moved>`."""
        return (self.cotangent(moved, end) * moved).sum(-1)

    def total(self, end: Float[Tensor, "target scalar dim"]) -> Float[Tensor, "target scalar"]:
        """`L(1) - L(0)`: what the attributions of a target must sum to."""
        return self.value(end, end)

    def natural_scale(self, end: Float[Tensor, "target scalar dim"]) -> Float[Tensor, "target scalar"]:
        """`||c|| ||end||`: the total itself for `l2` and `projection`, never cancelling for a direction."""
        return self.cotangent(end, end).norm(dim=-1) * end.norm(dim=-1)

    def of_rows(self, rows: Int[Tensor, " row"]) -> "Scalarization":
        """The scalarisation of some of its targets."""
        return self

    def like(self, end: Float[Tensor, "target scalar dim"]) -> "Scalarization":
        """The same on the device and in the type of these vectors, a line for each of their targets."""
        return self

    def fitted(
        self, places: "Iterable[Place]", route: str, size: Callable[[], Sequence[int]]
    ) -> "Scalarization":
        """The scalarisation of the chosen targets of some examples, one after the other.

        `size` tells how many vectors a target of the route has, and how long they are. Raises LigflowError
        where the scalarisation does not fit them.
        """
        return self


@runtime_checkable
class Place(Protocol):
    """The tokens of an example that are not padding, and the targets among them."""

    @property
    def visible(self) -> Int[Tensor, " visible"]:
        """Positions of the tokens."""

    @property
    def targets(self) -> Int[Tensor, " target"]:
        """Positions of the targets."""


@dataclass(frozen=True)
class L2(Scalarization):
    """`L = ||moved||`, with `c = moved / ||moved||` [suzuki2026]."""

    name = "l2"

    def cotangent(
        self, moved: Float[Tensor, "*batch target scalar dim"], end: Float[Tensor, "target scalar dim"]
    ) -> Float[Tensor, "*batch target scalar dim"]:
        """`moved / ||moved||`, and 0 where nothing moved."""
        return unit(moved)


@dataclass(frozen=True)
class Projection(Scalarization):
    """`L = <end, moved> / ||end||`: how far F has come towards its end."""

    name = "projection"

    def cotangent(
        self, moved: Float[Tensor, "*batch target scalar dim"], end: Float[Tensor, "target scalar dim"]
    ) -> Float[Tensor, "*batch target scalar dim"]:
        """`end / ||end||`, the same all along the path."""
        return unit(end).expand_as(moved)


@dataclass(frozen=True, eq=False)
class Direction(Scalarization):
    """`L = <v, moved>` for a fixed `v`: one for all targets `[D]`, one a scalar or one a target."""

    vector: Float[Tensor, "*shape dim"]
    cancels = "a direction"

    @property
    def name(self) -> str:
        """Its shape, `direction[8]`."""
        return f"direction{list(self.vector.shape)}"

    def cotangent(
        self, moved: Float[Tensor, "*batch target scalar dim"], end: Float[Tensor, "target scalar dim"]
    ) -> Float[Tensor, "*batch target scalar dim"]:
        """`v`, the same all along the path."""
        return self.vector.to(moved).expand_as(moved)

    def of_rows(self, rows: Int[Tensor, " row"]) -> "Direction":
        """Of a vector a target those of some targets."""
        return Direction(self.vector[rows]) if self.vector.ndim == 3 else self

    def like(self, end: Float[Tensor, "target scalar dim"]) -> "Direction":
        """The vector where the others are, a line for each target."""
        return Direction(self.vector.to(end).expand_as(end))

    def fitted(self, places: Iterable[Place], route: str, size: Callable[[], Sequence[int]]) -> "Direction":
        """A vector for the chosen targets: `[dim]`, or one a token (for z2u: one a head, or both)."""
        scalars, dim = size()
        vectors = [self._fitted(place, route, scalars, dim) for place in places]
        return Direction(torch.cat(vectors)) if all(vector.ndim == 3 for vector in vectors) else self

    def _fitted(self, place: Place, route: str, scalars: int, dim: int) -> Tensor:
        """The vector as it is, if one serves all tokens; else a row for each target."""
        visible, targets = place.visible, place.targets
        count, heads = len(visible), route == "z2u"
        shapes = [(dim,), (scalars, dim), (count, scalars, dim)] if heads else [(dim,), (count, dim)]
        if tuple(self.vector.shape) not in shapes:
            raise LigflowError(
                f"The direction for {route} has shape {tuple(self.vector.shape)}; it must be one of {shapes}."
                " Give one a route with scalarization={'z2z': direction(v), 'u2z': direction(v)}."
            )
        if len(self.vector) != count or self.vector.ndim != len(shapes[-1]):
            return self.vector
        rows = torch.searchsorted(visible, targets)
        return self.vector.to(targets.device)[rows].reshape(len(rows), -1, dim)


class CheckedScalarization(Held, Scalarization):
    """A caller's own scalarisation (`CustomScalarization`); what it returns is checked."""

    @property
    def name(self) -> str:
        """The name of the caller's object."""
        return str(self.content.name)

    @property
    def cancels(self) -> str:
        """Nothing is known of its signs."""
        return repr(self.name)

    def value(
        self, moved: Float[Tensor, "*batch target scalar dim"], end: Float[Tensor, "target scalar dim"]
    ) -> Float[Tensor, "*batch target scalar"]:
        """What the object says. Raises LigflowError for another shape."""
        return self._checked("value", self.content.value(moved, end), moved.shape[:-1]).to(moved)

    def cotangent(
        self, moved: Float[Tensor, "*batch target scalar dim"], end: Float[Tensor, "target scalar dim"]
    ) -> Float[Tensor, "*batch target scalar dim"]:
        """What the object says. Raises LigflowError for another shape."""
        return self._checked("cotangent", self.content.cotangent(moved, end), moved.shape).to(moved)

    def _checked(self, method: str, tensor: object, shape: torch.Size) -> Tensor:
        if not isinstance(tensor, Tensor) or tensor.shape != shape:
            kind = list(tensor.shape) if isinstance(tensor, Tensor) else type(tensor).__name__
            raise LigflowError(
                f"{method} of the scalarization {self.name!r} returned {kind}; it must return a tensor of "
                f"shape {list(shape)}."
            )
        return tensor


_SMALL = 1e-15  # whose square is still far from the least number of float32


def direction(vector: Float[Tensor, "*shape dim"] | NDArray[Any] | Sequence[float]) -> Direction:
    """Signed contributions towards `vector`, e.g. a row of the unembedding: `L = <v, F(a) - F(0)>`.

    Raises LigflowError for what holds no numbers, and for NaN.
    """
    if not isinstance(vector, Tensor):
        vector = _numbers(vector)
    if vector.ndim == 0 or vector.dtype.is_complex or vector.dtype == torch.bool:
        kind = f"{vector.dtype} of shape {list(vector.shape)}"
        raise LigflowError(f"The direction is {kind}; pass a vector of real numbers.")
    if not torch.isfinite(vector).all():
        raise LigflowError("The direction holds NaN or infinite entries; pass finite numbers.")
    return Direction(vector.detach())


def _numbers(vector: Any) -> Tensor:
    """An array or a list as a tensor; Python's numbers in double."""
    try:
        return torch.from_numpy(
            np.array(vector, dtype=None if isinstance(vector, np.ndarray) else np.float64)
        )
    except (TypeError, ValueError) as error:
        kind = type(vector).__name__
        raise LigflowError(f"The direction is {kind}; pass a vector of numbers, e.g. a tensor.") from error


def unit(vector: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
    """`v / ||v||`, and 0 for the zero vector. Where a square may underflow, divides by the largest first."""
    size = vector.norm(dim=-1, keepdim=True)
    if bool(((size > _SMALL) & (size < 1 / _SMALL)).all()):
        return vector / size
    peak = vector.abs().amax(dim=-1, keepdim=True)
    scaled = vector / torch.where(peak > 0, peak, 1)
    norm = scaled.norm(dim=-1, keepdim=True)
    return scaled / torch.where(norm > 0, norm, 1)
