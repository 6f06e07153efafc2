"""Sampled Shapley values against all sets, on a made-up game and on a layer."""

from itertools import product
from math import factorial

import pytest
import torch
from torch import Tensor

from ligflow import LigflowError
from ligflow.evaluation.games import LOSS, Game, removal_game
from ligflow.evaluation.removal import ablation
from ligflow.evaluation.shapley import shapley_values
from ligflow.routes.explain_layer import explain_together
from ligflow.settings import ask
from recorded_layers import recorded_alone


def by_all_sets(game: Game, players: Tensor) -> Tensor:
    """`sum over sets R without k of |R|! (n - 1 - |R|)! / n! (v(R + k) - v(R))`, every set of sources."""
    count = players.shape[1]
    sets = torch.tensor(list(product([False, True], repeat=count)))
    lost = game(sets[:, None] & players)
    value = torch.zeros(2, *players.shape, dtype=torch.float64)
    for target, own in enumerate(players):
        n = int(own.sum())
        for number, some in enumerate(sets):
            for source in (own & ~some).nonzero()[:, 0].tolist():
                if (some & ~own).any():
                    continue  # the same set again
                size = int(some.sum())
                more = lost[:, number + 2 ** (count - 1 - source), target] - lost[:, number, target]
                value[:, target, source] += factorial(size) * factorial(n - 1 - size) / factorial(n) * more
    return value


def bent(removed: Tensor) -> Tensor:
    """`z'_j` of 5 sources that cover for each other."""
    gains = torch.tensor([[1.0, 4, 2, 8, -3], [3, 1, 9, 2, 5]], dtype=torch.float64)
    left = ~removed * gains
    return torch.stack([left.sum(-1), left.amax(-1), left[..., 0] * left[..., 1]], dim=-1) + 9


PLAYERS = torch.tensor([[True] * 5, [True, True, False, True, True]])


def test_many_orders_find_the_value() -> None:
    game = removal_game(bent, PLAYERS)
    expected = by_all_sets(game, PLAYERS)
    found = shapley_values(game, PLAYERS, pairs=3000)
    torch.testing.assert_close(found.value, expected, atol=0.01, rtol=0)
    assert (found.value[:, 1, 2] == 0).all()


def test_what_is_lost_is_shared_out_whole() -> None:
    found = shapley_values(removal_game(bent, PLAYERS), PLAYERS, pairs=4)
    torch.testing.assert_close(found.value.sum(-1), torch.ones(2, 2, dtype=torch.float64))
    torch.testing.assert_close(found.halves.mean(0), found.value)


def test_intervals_hold_the_value_as_often_as_they_say() -> None:
    game = removal_game(bent, PLAYERS)
    expected, held = by_all_sets(game, PLAYERS), []
    for seed in range(150):
        low, high = shapley_values(game, PLAYERS, pairs=20, seed=seed).interval
        held.append((low - 1e-12 <= expected) & (expected <= high + 1e-12))
    shares = torch.stack(held).double().mean(0)[:, PLAYERS]
    assert 0.90 <= shares.mean() <= 0.98


def test_two_that_cover_for_each_other_share_what_they_have_alike() -> None:
    """`v = max`: neither is lost alone, both are together; a pair of orders gives each one half."""
    players = torch.ones(1, 2, dtype=torch.bool)

    def either(removed: Tensor) -> Tensor:
        return (~removed).double().amax(-1, keepdim=True)

    found = shapley_values(removal_game(either, players), players, pairs=4)
    torch.testing.assert_close(found.value, torch.full((2, 1, 2), 0.5, dtype=torch.float64))
    assert (found.error == 0).all()


def test_the_values_of_a_layer() -> None:
    players = ~torch.eye(5, dtype=torch.bool)
    for layer, place in recorded_alone("bert", 5):
        game = removal_game(ablation(layer, place, "target").image, players)
        found = shapley_values(game, players, pairs=60)
        expected = by_all_sets(game, players)
        assert ((found.value - expected).abs() <= 5 * found.error + 1e-9).all()
        assert found.error.max() < 0.1 * expected.abs().max()


def test_integrated_gradients_are_the_value_of_their_game_for_a_short_step() -> None:
    """Both values share out the same loss; where sources go by a thousandth of the way they agree."""
    players = torch.ones(5, 5, dtype=torch.bool)
    for layer, place in recorded_alone("bert", 5):
        start = 0.999 * layer.hidden + 0.001 * layer.hidden.mean(0)
        game = removal_game(ablation(layer, place, start).image, players)
        settings = ask(routes="z2z", layer_baseline=start, scalarization="projection", tol=1e-6)
        flow = explain_together([layer], [settings], [place])[0][0]["z2z"].value[:, 0]
        shares = flow / flow.sum(-1, keepdim=True)
        torch.testing.assert_close(shares, by_all_sets(game, players)[LOSS], atol=2e-3, rtol=0)


def test_what_came_before_and_other_targets_change_nothing() -> None:
    game = removal_game(bent, PLAYERS)
    whole = shapley_values(game, PLAYERS, pairs=5, seed=3).value
    alone = shapley_values(game, PLAYERS & torch.tensor([[True], [False]]), pairs=5, seed=3).value
    torch.testing.assert_close(alone[:, 0], whole[:, 0])
    assert (alone[:, 1] == 0).all()


def test_too_few_orders() -> None:
    with pytest.raises(LigflowError, match="pairs is 3; an error takes at least 4 pairs"):
        shapley_values(removal_game(bent, PLAYERS), PLAYERS, pairs=3)
