"""Shapley values of the removal game: a judge that favours no method, with an interval for each value.

Sources are removed one after the other in a random order; what is lost more as source k goes, on average
over all orders, is its Shapley value [shapley1953]:

    phi_k = mean over orders of  v(those before k, and k) - v(those before k),   sum_k phi_k = v(all) = 1.

Where sources go by small parts, all at once, the same idea gives the Aumann-Shapley value [aumann1974]:
integrated gradients under `projection` are that of `loss` (in units of the total), if they start where the
replacement stands. A method that shares its start with the replacement is held against its own game.

Orders are drawn [castro2009] in antithetic pairs, an order and its reverse [mitchell2022], which take out
what two sources share. The pairs are independent, and their spread is the error of the mean. For 2^n sets of
n sources the value could be enumerated; for 20 sources that is a million runs, for 32 orders 640.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ligflow.errors import LigflowError
from ligflow.evaluation.games import Game

FEWEST_PAIRS = 4
_SURE = 1.96  # standard errors, of a mean over many pairs


@dataclass(frozen=True, eq=False)
class Sampled:
    """Shapley values for each game, 0 for sources that do not play, with the standard error of each.

    `halves` are the values by two halves of the orders: how well these agree says how far any method could
    agree with the values.
    """

    value: Float[Tensor, "game target source"]
    error: Float[Tensor, "game target source"]
    halves: Float[Tensor, "2 game target source"]

    @property
    def interval(self) -> tuple[Float[Tensor, "game target source"], Float[Tensor, "game target source"]]:
        """Both ends of `value -+ 1.96 error`, 95% for each value by itself."""
        return self.value - _SURE * self.error, self.value + _SURE * self.error


def shapley_values(
    game: Game, players: Bool[Tensor, "target source"], pairs: int = 16, seed: int = 0
) -> Sampled:
    """`phi_k = E[v(R + k) - v(R)]`, R those before k in a random order [castro2009], by pairs of orders.

    Raises LigflowError for fewer than 4 pairs.
    """
    if pairs < FEWEST_PAIRS:
        raise LigflowError(f"pairs is {pairs}; an error takes at least {FEWEST_PAIRS} pairs of orders.")
    generator = torch.Generator("cpu").manual_seed(seed)
    drawn = [torch.randperm(players.shape[1], generator=generator, device="cpu") for _ in range(pairs)]
    each = torch.stack([_of_pair(game, players, order.to(players.device)) for order in drawn])
    middle = pairs // 2
    return Sampled(
        each.mean(dim=0),
        each.std(dim=0) / pairs**0.5,
        torch.stack([each[:middle].mean(dim=0), each[middle:].mean(dim=0)]),
    )


def _of_pair(
    game: Game, players: Tensor, order: Int[Tensor, " source"]
) -> Float[Tensor, "game target source"]:
    """What each source's going loses, the mean of an order and its reverse."""
    return (_by_order(game, players, order) + _by_order(game, players, order.flip(0))) / 2


def _by_order(
    game: Game, players: Bool[Tensor, "target source"], order: Int[Tensor, " source"]
) -> Float[Tensor, "game target source"]:
    """What is lost more as each player goes, in this order; sources that are no players are passed over."""
    place = torch.empty_like(players, dtype=torch.long)
    place[:, order] = players[:, order].long().cumsum(dim=1) - 1
    most = max(1, int(players.sum(dim=1).max()))
    steps = torch.arange(most + 1, device=players.device)
    gone = players & (place < steps[:, None, None])
    more = game(gone).diff(dim=1).transpose(1, 2)
    lost = more.gather(2, place.clamp(min=0).expand(len(more), -1, -1))
    return lost.masked_fill(~players, 0.0)
