"""A map F along a path: its image at a point, and the pullback of a cotangent to the sources.

The path of source k is `x_k(a) = x_k(0) + a (x_k - x_k(0))`. For a scalar L of F_j with the gradient
`g = dL/dF_j` there, the cotangent, the pullback gives the integrand of integrated gradients of every source:

    integrand_k(a) = dL/da through x_k alone = (x_k - x_k(0)) . (dF_j/dx_k)^T g
"""

from collections.abc import Callable
from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

from ligflow.paths.after_attention import Cotangent
from ligflow.routes.by_head import HeadAxes

POINTS_HELD = (
    256  # path points a target that the quadrature may hold at once: rules of its panels, new values
)

Image = Callable[[Float[Tensor, " node"], Int[Tensor, " row"]], Float[Tensor, "node row scalar dim"]]

Pullback = Callable[
    [Float[Tensor, " node"], Int[Tensor, " row"], Cotangent], Float[Tensor, "node row scalar source"]
]


@dataclass(frozen=True, eq=False)
class PathMap:
    """A map F along a path.

    `pair_bytes` is the memory that one (node, row) pair takes, `target_bytes` what the quadrature keeps for a
    target, `least_pairs` how many pairs are replayed at least. `recorded` gives the values at the end of the
    path where they are known from the model's own run, and `own_tokens` which tokens of a replayed run are
    the targets' own, where tokens may choose experts. `axes` says how the parts lie that the pullback gives
    in place of sources.
    """

    image: Image
    pullback: Pullback
    pair_bytes: int
    target_bytes: int
    least_pairs: int = 1
    recorded: Callable[[Int[Tensor, " row"]], Float[Tensor, "row scalar dim"]] | None = None
    own_tokens: Callable[[int, Int[Tensor, " row"]], Int[Tensor, " pair"]] | None = None
    axes: HeadAxes | None = None

    @property
    def least_budget(self) -> int:
        """The bytes that one target at one point takes."""
        return 2 * max(self.pair_bytes * self.least_pairs, self.target_bytes)

    def pairs(self, budget: int) -> int:
        """How many (node, row) pairs half of a budget of bytes holds."""
        return max(self.least_pairs, budget // 2 // self.pair_bytes)


def with_own(
    sources: Float[Tensor, "node row *head source"],
    own: Float[Tensor, "node row *head"] | None,
    columns: Int[Tensor, " row"],
) -> Float[Tensor, "node row *head source"]:
    """Adds what moves with the target's own stream to the target's own source, `columns` of each row."""
    if own is None:
        return sources
    shape = (1, len(columns)) + (1,) * (sources.ndim - 2)
    index = columns.reshape(shape).expand(*sources.shape[:-1], 1)
    return sources.scatter_add(-1, index, own[..., None])
