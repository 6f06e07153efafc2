"""Where a token's experts change on its path, and how far F jumps there.

Every path is looked at in some forty points, denser towards 0. Where the choice of a target's token differs
between two neighbours, the change is closed in on until F hardly moves but for the jump. A choice that comes
and goes between two points is not seen.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ligflow.devices.blocks import default_budget, in_blocks
from ligflow.layer.experts import noted
from ligflow.method.changes import narrowed, stretches_of_change
from ligflow.routes.path_map import PathMap

_POINTS = (0, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, *(part / 32 for part in range(1, 33)))
_ROUNDS = 3  # of closing in on each

_Choose = Callable[[Float[Tensor, " node"], Int[Tensor, " row"]], Int[Tensor, "node row one choice"]]


def jumps(
    route: PathMap, targets: Int[Tensor, " target"], calls: int, memory_budget: int | None = None
) -> Float[Tensor, "target one"] | None:
    """How far F jumps on a target's path, `sum ||F(a+) - F(a-)||` over the points where its experts change.

    `calls` is how often one run of the layer chooses (see `ligflow.layer.experts`). None where its attention
    chooses too: changes for other tokens make F jump as well.
    """
    pairs = route.pairs(memory_budget or default_budget(targets.device))
    least = torch.zeros(1, dtype=torch.float32, device=targets.device)
    if noted(lambda: route.image(least, targets[:1]), calls) is None:
        return None
    choose = _choice(route, calls)
    points = torch.tensor(_POINTS, dtype=torch.float32, device=targets.device)
    chosen = in_blocks(choose, points, targets, pairs)[:, :, 0]
    rows, stretches = stretches_of_change(points, chosen.transpose(0, 1))
    size = points.new_zeros(len(targets), 1)
    for row in rows.unique():
        here = targets[row : row + 1]

        def of_row(_places: Tensor, edges: Tensor, here: Tensor = here) -> Tensor:
            flat = in_blocks(choose, edges.flatten(), here, pairs)[:, 0, 0]
            return flat.unflatten(0, edges.shape)

        _, narrow = narrowed(of_row, rows[rows == row], stretches[rows == row], _ROUNDS)
        ends = in_blocks(route.image, narrow.flatten(), here, pairs)[:, 0, 0]
        size[row] = (ends[1::2] - ends[::2]).norm(dim=-1).sum()
    return size


def _choice(route: PathMap, calls: int) -> _Choose:
    """What is chosen for the target's token of every (node, row) pair."""

    def choose(nodes: Tensor, rows: Tensor) -> Tensor:
        assert route.own_tokens is not None
        choices = noted(lambda: route.image(nodes, rows), calls)
        assert choices is not None
        return choices[route.own_tokens(len(nodes), rows)].unflatten(0, (len(nodes), -1))[:, :, None]

    return choose
