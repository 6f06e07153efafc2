"""What an integral over a path takes and gives."""

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor

Integrand = Callable[
    [Float[Tensor, " node"], Int[Tensor, " target"]], Float[Tensor, "node target scalar source"]
]


@dataclass(frozen=True, eq=False)
class Integral:
    """Attributions, and what is known of their error.

    `error` is the estimated L1 error of a column, `nodes` the path points each target took, `met` says
    for each scalar whether estimate and completeness are both within the tolerance, and `divided`
    whether [0, 1] as one panel was not enough (or, for a fixed rule, was not known to be).
    """

    value: Float[Tensor, "target scalar source"]
    error: Float[Tensor, "target scalar"]
    nodes: Int[Tensor, " target"]
    met: Bool[Tensor, "target scalar"]
    divided: Bool[Tensor, " target"]
