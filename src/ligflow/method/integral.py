"""What an integral over a path takes and gives."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from jaxtyping import Bool, Float, Int
from torch import Tensor

Integrand = Callable[
    [Float[Tensor, " node"], Int[Tensor, " target"]], Float[Tensor, "node target scalar source"]
]


Sums = Callable[[Float[Tensor, "*rows part"]], Float[Tensor, "*rows source"]]


@dataclass(frozen=True, eq=False)
class Parted:
    """An integrand whose values are parts of what sources add, `sums` being the sums by source.

    Rules decide by the sums, so that parts take the nodes that their sums take alone; a rule that does not
    know of parts takes them for sources, which sum to the same. Where they may jump beside a = 0, by amounts
    that cancel, one more point there is looked at for the estimate of their error (`looks`).
    """

    values: Integrand
    sums: Sums
    looks: bool = False

    def __call__(
        self, nodes: Float[Tensor, " node"], targets: Int[Tensor, " target"]
    ) -> Float[Tensor, "node target scalar part"]:
        """The parts."""
        return self.values(nodes, targets)


def looks_near_start(integrand: Integrand) -> bool:
    """Whether parts may jump beside a = 0."""
    return isinstance(integrand, Parted) and integrand.looks


def sums_of(integrand: Integrand) -> Sums | None:
    """How parts are summed to sources; None where the integrand gives sources."""
    return integrand.sums if isinstance(integrand, Parted) else None


@dataclass(frozen=True, eq=False)
class Integral:
    """Attributions, and what is known of their error.

    `error` is the estimated L1 error of a column, `nodes` the path points each target took, `met` says
    for each scalar whether estimate and completeness are both within the tolerance, and `divided`
    whether [0, 1] as one panel was not enough (or, for a fixed rule, was not known to be). `parts` are those
    of a `Parted` integrand, with the estimated L1 error of all of a column.
    """

    value: Float[Tensor, "target scalar source"]
    error: Float[Tensor, "target scalar"]
    nodes: Int[Tensor, " target"]
    met: Bool[Tensor, "target scalar"]
    divided: Bool[Tensor, " target"]
    parts: Float[Tensor, "target scalar part"] | None = None
    parts_error: Float[Tensor, "target scalar"] | None = None


def with_sums(integral: Integral, sums: Sums | None) -> Integral:
    """The integral with its parts summed by source, where the rule took parts for sources."""
    if sums is None or integral.parts is not None:
        return integral
    return replace(integral, value=sums(integral.value), parts=integral.value, parts_error=integral.error)
