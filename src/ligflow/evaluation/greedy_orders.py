"""How far the curves of removal could go: orders that look at the effects themselves, one step at a time.

`leave one out` knows what each source does alone and is no bound for what they do together. A greedy order
runs the layer at each step for all that are left: it removes the source whose going moves the target most,
or, from the other end, brings back the one that leaves the least effect. Neither is the best of all n!
orders; they are what looking ahead by one step gets.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ligflow.evaluation.games import EFFECT, Game


def greedy_removal(game: Game, players: Bool[Tensor, "target source"]) -> Float[Tensor, "target source"]:
    """The order in which going moves the target most, `argmax_k e(R + k)` at each step; the first is largest.

    Scores count down from the number of sources, and are 0 for those that do not play.
    """
    return _stepwise(game, players, torch.zeros_like(players), most=True)


def greedy_return(game: Game, players: Bool[Tensor, "target source"]) -> Float[Tensor, "target source"]:
    """The order of coming back that leaves the least effect, `argmin_k e(R - k)`; the first is largest."""
    return _stepwise(game, players, players.clone(), most=False)


def _stepwise(game: Game, players: Tensor, removed: Tensor, most: bool) -> Float[Tensor, "target source"]:
    count = players.shape[1]
    each = torch.eye(count, dtype=torch.bool, device=players.device)[:, None]
    rows = torch.arange(len(players), device=players.device)
    score, left = torch.zeros(players.shape, device=players.device), players.clone()
    for step in range(int(players.sum(dim=1).max())):
        effect = game(removed ^ (each & left))[EFFECT].T  # those no longer left change nothing
        gain = (effect if most else -effect).masked_fill(~left, -torch.inf)
        chosen = gain.argmax(dim=1)
        plays = left[rows, chosen]
        score[rows, chosen] = torch.where(plays, float(count - step), score[rows, chosen])
        removed[rows, chosen] ^= plays
        left[rows, chosen] = False
    return score
