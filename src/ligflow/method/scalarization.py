"""From a vector that moved to one number: L2 norm, projection on the end, or a direction.

Write `moved = F(a) - F(0)` and `end = F(1) - F(0)`. Every scalarisation here is
`L = <c, moved>` with a cotangent `c = dL/dF`:

| name | c | L(1) |
|---|---|---|
| `l2` | moved / ||moved|| | ||end|| |
| `projection` | end / ||end|| | ||end|| |
| `direction(v)` | v | <v, end> |
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from ligflow import names
from ligflow.errors import LigflowError

NAMES = tuple(names.SCALARIZATIONS.values())


@dataclass(frozen=True, eq=False)
class Direction:
    """A fixed direction `v`, one for all targets `[D]` or one a target `[T, D]`."""

    vector: Tensor


Scalarization = str | Direction


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


def _numbers(given: Any) -> Tensor:
    """An array or a list as a tensor; Python's numbers in double."""
    try:
        return torch.from_numpy(np.array(given, dtype=None if isinstance(given, np.ndarray) else np.float64))
    except (TypeError, ValueError) as error:
        kind = type(given).__name__
        raise LigflowError(f"The direction is {kind}; pass a vector of numbers, e.g. a tensor.") from error


def cotangent(
    scalarization: Scalarization,
    moved: Float[Tensor, "*batch target scalar dim"],
    end: Float[Tensor, "target scalar dim"],
) -> Float[Tensor, "*batch target scalar dim"]:
    """`dL/dF` where F has moved by `moved`; 0 where a norm is 0 (its subgradient)."""
    if isinstance(scalarization, Direction):
        return scalarization.vector.to(moved).expand_as(moved)
    return unit(moved) if scalarization == "l2" else unit(end).expand_as(moved)


def total(
    scalarization: Scalarization, end: Float[Tensor, "target scalar dim"]
) -> Float[Tensor, "target scalar"]:
    """`L(1) - L(0)`: what the attributions of a target must sum to."""
    return (cotangent(scalarization, end, end) * end).sum(-1)


def natural_scale(
    scalarization: Scalarization, end: Float[Tensor, "target scalar dim"]
) -> Float[Tensor, "target scalar"]:
    """`||c|| ||end||`: the total itself for `l2` and `projection`, and never cancelling for a direction."""
    return cotangent(scalarization, end, end).norm(dim=-1) * end.norm(dim=-1)


def unit(vector: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
    """`v / ||v||`, and 0 for the zero vector. Divides by the largest entry first, against underflow."""
    peak = vector.abs().amax(dim=-1, keepdim=True)
    scaled = vector / torch.where(peak > 0, peak, 1)
    norm = scaled.norm(dim=-1, keepdim=True)
    return scaled / torch.where(norm > 0, norm, 1)
