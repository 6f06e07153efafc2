"""The averaged Jacobian of an MLP with experts, by differences of integrals alone: no gradient is taken.

`∫ Jᵀ m da . w` is how fast `∫ m . F(v° + a Δv + w) da` moves with w, jumps and all. The integral is that of
values of the model's own modules between the changes that a hook on the router sees. It shares no code with
`ligflow.prediction`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

_SCAN, _HALVINGS, _POINTS, _STEP = 400, 45, 20, 1e-5


@dataclass(frozen=True)
class ExpertMlp:
    """`x + MLP(norm(x))` of a layer by its own modules, and what its router chooses."""

    layer: nn.Module

    def __call__(self, x: Tensor) -> Tensor:
        """Of vectors of one token, a row each."""
        with torch.no_grad():
            given = self.layer.mlp(self.layer.post_attention_layernorm(x[:, None]))
            return x + (given[0] if isinstance(given, tuple) else given)[:, 0]

    def chosen(self, x: Tensor) -> Tensor:
        """The experts of each row, in no order."""
        seen: list[Tensor] = []
        router = getattr(self.layer.mlp, "gate", None) or self.layer.mlp.router
        handle = router.register_forward_hook(lambda _m, _a, output: seen.append(output[-1]))
        try:
            self(x)
        finally:
            handle.remove()
        return seen[0].reshape(len(x), -1).sort(-1).values


def changes(mlp: ExpertMlp, start: Tensor, step: Tensor) -> list[float]:
    """Where the experts change on the way from start to start + step: a scan, and halvings."""

    def chosen(nodes: Tensor) -> Tensor:
        return mlp.chosen(start + nodes[:, None] * step)

    grid = torch.linspace(0, 1, _SCAN + 1, dtype=torch.float64)
    experts = chosen(grid)
    places = (experts[1:] != experts[:-1]).any(-1).nonzero()[:, 0]
    low, high = grid[places], grid[places + 1]
    for _ in range(_HALVINGS if len(places) else 0):
        middle = (low + high) / 2
        same = (chosen(middle) == experts[places]).all(-1)
        low, high = torch.where(same, middle, low), torch.where(same, high, middle)
    return ((low + high) / 2).tolist()


def integral(mlp: Callable[[Tensor], Tensor], start: Tensor, step: Tensor, ends: list[float]) -> Tensor:
    """`∫ F(start + a step) da`, piece by piece."""
    nodes, weights = (torch.from_numpy(each) / 2 for each in np.polynomial.legendre.leggauss(_POINTS))
    total = torch.zeros_like(start)
    for low, high in zip([0.0, *ends], [*ends, 1.0], strict=True):
        points = low + (high - low) * (nodes + 0.5)
        total += (high - low) * (weights[:, None] * mlp(start + points[:, None] * step)).sum(0)
    return total


def moved_along(mlp: ExpertMlp, start: Tensor, end: Tensor, m: Tensor, w: Tensor) -> float:
    """`(∫ Jᵀ m da) . w`."""
    sides = []
    for sign in (1, -1):
        first = start + sign * _STEP * w
        sides.append(integral(mlp, first, end - start, changes(mlp, first, end - start)) @ m)
    return float(sides[0] - sides[1]) / (2 * _STEP)


def jumps_of(mlp: ExpertMlp, start: Tensor, end: Tensor, m: Tensor) -> Tensor:
    """`m . (F(a+) - F(a-))` where the experts change."""
    places = torch.tensor(changes(mlp, start, end - start), dtype=torch.float64)[:, None]
    after, before = (mlp(start + (places + side) * (end - start)) for side in (1e-11, -1e-11))
    return (after - before) @ m
