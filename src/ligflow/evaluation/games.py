"""The game of removal: what a target loses when a set of its sources is removed, as shares.

`z'_j(R)` is a target's output without the sources in R, N all its players, and
`d_j = (z'_j - z'_j(N)) / ||z'_j - z'_j(N)||`:

| game | formula | |
|---|---|---|
| `effect` | `e(R) = ||z'_j(R) - z'_j|| / ||z'_j(N) - z'_j||` | how far the target moves; never negative |
| `loss` | `g(R) = <z'_j - z'_j(R), d_j> / ||z'_j(N) - z'_j||` | how far it goes the way of all |

Both are 0 for no source and 1 for all; in between they may be more than 1, and `loss` less than 0: without
sources that held it back the target goes on, away from what it is without all.
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Image = Callable[[Bool[Tensor, "set target source"]], Float[Tensor, "set target dim"]]
Game = Callable[[Bool[Tensor, "set target source"]], Float[Tensor, "game set target"]]
GAMES = EFFECT, LOSS = 0, 1
_STILL = 1e-4  # of the size of z'_j: a target that moves by less has nothing to share out


def removal_game(image: Image, players: Bool[Tensor, "target source"]) -> Game:
    """The games of `image`, played by these players: `(e(R), g(R))` of sets among them, in float64."""
    real, bare = (image(removed[None])[0].double() for removed in (torch.zeros_like(players), players))
    step = real - bare
    size = step.norm(dim=-1).clamp(min=torch.finfo(torch.float64).tiny)
    direction = step / size[:, None]

    def play(removed: Tensor) -> Tensor:
        lost = real - image(removed).double()
        return torch.stack([lost.norm(dim=-1), (lost * direction).sum(dim=-1)]) / size

    return play


def still(image: Image, players: Bool[Tensor, "target source"], fewest: int = 3) -> Bool[Tensor, " target"]:
    """Targets that say nothing: with too few players, or hardly moved when all of them are removed."""
    real, bare = (image(removed[None])[0] for removed in (torch.zeros_like(players), players))
    return ((bare - real).norm(dim=-1) <= _STILL * real.norm(dim=-1)) | (players.sum(dim=-1) < fewest)


def alone(game: Game, players: Bool[Tensor, "target source"]) -> Float[Tensor, "game target source"]:
    """`(e({k}), g({k}))`, what is lost without one player, leave one out; 0 for the others."""
    each = torch.eye(players.shape[1], dtype=torch.bool, device=players.device)[:, None]
    return game(each & players).transpose(1, 2)
