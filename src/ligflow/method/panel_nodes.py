"""Where the nodes of a panel lie: evenly, or on its logarithm where it spans more than a factor of four.

From `zero`, a norm is past its eps within a small part of the path, and each norm after it within a part
of that. Whatever the part, what happens there is equally wide on the logarithm. With

    a(x) = low (high / low)^x,    x in [0, 1],    da = a(x) log(high / low) dx

the nearest singularities of `1 / sqrt(a^2 + c^2)` lie at `log a = log c ± i pi / 2` for every c, so that 15
nodes are enough for three decades.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from ligflow.method.quadrature_rules import LEVELS, patterson_nodes

_SPANS = 4.0
NODES = torch.from_numpy((patterson_nodes(LEVELS - 1) + 1) / 2)


def is_logarithmic(low: float, high: float) -> bool:
    """Whether the nodes of a panel are laid on its logarithm."""
    return low > 0 and high > _SPANS * low


def nodes_between(low: float, high: float, begin: int, end: int) -> Float[Tensor, " node"]:
    """Nodes `begin` to `end` of the rules, on a panel: `low + (high - low) x`, or `low (high / low)^x`."""
    x = NODES[begin:end]
    return low * (high / low) ** x if is_logarithmic(low, high) else low + (high - low) * x


def slopes_between(low: float, high: float, begin: int, end: int) -> Float[Tensor, " node"]:
    """`(da / dx) / (high - low)` at the same nodes, by which values are multiplied: 1 where they are even."""
    if not is_logarithmic(low, high):
        return torch.ones_like(NODES[begin:end])
    return _steepness(low, high) * nodes_between(low, high, begin, end)


def slopes_at_ends(low: float, high: float) -> tuple[float, float]:
    """The same at low and high."""
    return (
        (_steepness(low, high) * low, _steepness(low, high) * high)
        if is_logarithmic(low, high)
        else (1.0, 1.0)
    )


def _steepness(low: float, high: float) -> float:
    return math.log(high / low) / (high - low)
