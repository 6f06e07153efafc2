"""Greedy orders against the best of all orders."""

from itertools import permutations

import torch
from torch import Tensor

from ligflow.evaluation.faithfulness import measured
from ligflow.evaluation.games import EFFECT, removal_game
from ligflow.evaluation.greedy_orders import greedy_removal, greedy_return

PLAYERS = torch.tensor([[True] * 4, [True, False, True, True]])


def covering(removed: Tensor) -> Tensor:
    """Source 0 and 1 say the same, so that each alone is worth nothing; 2 says less, 3 least."""
    left = (~removed).double()
    return torch.stack([5 * left[..., :2].amax(-1), 2 * left[..., 2], left[..., 3]], dim=-1)


def test_each_step_is_the_best_of_those_that_are_left() -> None:
    """Alone 2 moves most; then nothing is worth more than 3; the pair comes last, in order of position."""
    game = removal_game(covering, PLAYERS)
    assert greedy_removal(game, PLAYERS).tolist() == [[2, 1, 4, 3], [2, 0, 4, 3]]
    assert greedy_return(game, PLAYERS).tolist() == [[4, 1, 3, 2], [2, 0, 4, 3]]


def test_the_first_two_steps_are_better_than_by_any_order_that_looks_at_single_effects() -> None:
    def weighted(removed: Tensor) -> Tensor:
        left = (~removed).double()
        both = (left[..., 0] * left[..., 1])[..., None] * torch.tensor([4.0, 0.0], dtype=torch.float64)
        return both + left @ torch.tensor([[0.0, 0], [0, 0], [3, 0], [-1, 1]], dtype=torch.float64)

    players = torch.ones(1, 4, dtype=torch.bool)
    game = removal_game(weighted, players)
    order = greedy_removal(game, players)
    best = measured(weighted, order[None], players, steps=4)["deletion"].item()
    every = torch.tensor([list(one) for one in permutations(range(4))], dtype=torch.float64)[:, None]
    others = measured(weighted, every, players, steps=4)["deletion"]
    assert best >= others.quantile(0.8)
    first = game(order[None] == 4)[EFFECT].item()
    assert first == max(game((torch.arange(4) == k)[None, None])[EFFECT].item() for k in range(4))


def test_of_an_additive_layer_it_is_the_best_order() -> None:
    gains = torch.tensor([[1.0, 4, 2, 8]], dtype=torch.float64)
    players = torch.ones(1, 4, dtype=torch.bool)
    game = removal_game(lambda removed: (gains * ~removed).sum(-1, keepdim=True), players)
    assert greedy_removal(game, players).tolist() == [[1, 3, 2, 4]]
    assert greedy_return(game, players).tolist() == [[1, 3, 2, 4]]
