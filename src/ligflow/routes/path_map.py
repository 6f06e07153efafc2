"""A map along a path: its image at a point, and the pullback of a cotangent."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jaxtyping import Bool, Float, Int
from torch import Tensor

from ligflow.paths.after_attention import Cotangent

KEPT = 256  # path points a target that the quadrature may hold at once: rules of its panels, new values


Image = Callable[[Float[Tensor, " node"], Int[Tensor, " row"]], Float[Tensor, "node row scalar dim"]]


Pullback = Callable[
    [Float[Tensor, " node"], Int[Tensor, " row"], Cotangent], Float[Tensor, "node row scalar source"]
]


@dataclass(frozen=True, eq=False)
class PathMap:
    """A map F along a path.

    `cost` is how many bytes one (node, row) pair keeps in memory, `least` how many pairs are replayed
    at least, `kept` how many bytes the quadrature keeps for a target, and `recorded` the values at the
    end of the path where they are known from the model's own run. `places` are the tokens of a run that
    are the targets' own, where tokens may choose experts.
    """

    image: Image
    pull: Pullback
    cost: int
    kept: int
    least: int = 1
    recorded: Callable[[Int[Tensor, " row"]], Float[Tensor, "row scalar dim"]] | None = None
    places: Callable[[int, Int[Tensor, " row"]], Int[Tensor, " pair"]] | None = None

    @property
    def least_budget(self) -> int:
        """The bytes that one target at one point takes."""
        return 2 * max(self.cost * self.least, self.kept)

    def pairs(self, budget: int) -> int:
        """How many (node, row) pairs half of a budget holds."""
        return max(self.least, budget // 2 // self.cost)


@dataclass(frozen=True, eq=False)
class Attribution:
    """Attributions of one route of one layer.

    `total` is `L_j(1) - L_j(0)`, `scale` what errors are relative to, `error` the estimated L1 error
    of a row over `scale`, `origin` what L has reached at a = 1e-6 over `scale`, `floor` the size under
    which a total is rounding, `flipped` the rows whose signs a ratio correction turned, `jump` how far F
    jumps where a target's experts change, over `scale`.
    """

    value: Float[Tensor, "target scalar source"]
    total: Float[Tensor, "target scalar"]
    scale: Float[Tensor, "target scalar"]
    error: Float[Tensor, "target scalar"]
    origin: Float[Tensor, "target scalar"]
    met: Bool[Tensor, "target scalar"]
    nodes: Int[Tensor, " target"]
    floor: Float[Tensor, "target scalar"]
    flipped: Bool[Tensor, "target scalar"] | None = None
    jump: Float[Tensor, "target scalar"] | None = None


def on_cpu(found: Attribution) -> Attribution:
    """The same with its tensors on the CPU."""
    parts: dict[str, Any] = {k: v.cpu() if isinstance(v, Tensor) else v for k, v in vars(found).items()}
    return Attribution(**parts)


@dataclass(frozen=True, eq=False)
class Players:
    """Where the players of u2z start and end: the heads of the attention, and of a second one if there is.

    The residual stays at z_j where it has no start.
    """

    start: Float[Tensor, "row head value_dim"]
    end: Float[Tensor, "row head value_dim"]
    residual_start: Float[Tensor, "row dim"] | None = None
    second_start: Float[Tensor, "row cross_head cross_dim"] | None = None
    second_end: Float[Tensor, "row cross_head cross_dim"] | None = None


def with_self(
    sources: Float[Tensor, "node row *head source"],
    own: Float[Tensor, "node row *head"] | None,
    columns: Int[Tensor, " row"],
) -> Float[Tensor, "node row *head source"]:
    """Adds what moves with the target's own stream to its diagonal."""
    if own is None:
        return sources
    shape = (1, len(columns)) + (1,) * (sources.ndim - 2)
    index = columns.reshape(shape).expand(*sources.shape[:-1], 1)
    return sources.scatter_add(-1, index, own[..., None])
