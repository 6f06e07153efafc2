"""Measures of faithfulness on maps whose answers are known."""

import math

import pytest
import torch
from scipy import stats
from torch import Tensor

from ligflow.evaluation.faithfulness import Image, leave_one_out, measured

GAINS = torch.tensor([[1.0, 4.0, 2.0, 8.0, 0.0], [3.0, 1.0, 9.0, 2.0, 5.0]], dtype=torch.float64)


def additive(gains: Tensor) -> Image:
    """`z'_j = sum of the gains of the sources that are left`, in one dimension."""

    def image(removed: Tensor) -> Tensor:
        return (gains * ~removed).sum(-1, keepdim=True) + 100.0

    return image


def everyone(gains: Tensor) -> Tensor:
    return torch.ones_like(gains, dtype=torch.bool)


def test_leaving_one_out_gives_the_gain() -> None:
    players = everyone(GAINS)
    players[0, 3] = False
    found = leave_one_out(additive(GAINS), players)
    expected = GAINS.clone()
    expected[0, 3] = 0
    torch.testing.assert_close(found, expected)


def test_curves_by_hand() -> None:
    """Gains 8, 4, 2, 1, 0 in that order: of 15, 8 then 12 then 14 then 15 are gone."""
    found = measured(additive(GAINS), GAINS[None], everyone(GAINS), steps=5, top_k=2)
    curve = torch.tensor([0, 8, 12, 14, 15, 15]) / 15
    area = float((curve[1:] + curve[:-1]).sum() / 10)
    assert found["deletion"][0, 0] == pytest.approx(area)
    assert found["insertion"][0, 0] == pytest.approx(area)  # of an additive map the two are one
    assert found["between"][0, 0] == pytest.approx(2 * area - 1)
    assert found["comprehensiveness"][0, 0] == pytest.approx(12 / 15)
    assert found["sufficiency"][0, 0] == pytest.approx(3 / 15)
    assert found["rank_correlation"][0].tolist() == pytest.approx([1, 1])
    second = torch.tensor([0, 9, 14, 17, 19, 20]) / 20
    assert found["deletion"][0, 1] == pytest.approx(float((second[1:] + second[:-1]).sum() / 10))


def test_the_magnitude_of_a_score_counts() -> None:
    found = measured(additive(GAINS), torch.stack([GAINS, -GAINS]), everyone(GAINS), steps=5)
    for value in found.values():
        torch.testing.assert_close(value[0], value[1])


def test_the_reverse_order_is_the_worst() -> None:
    best, worst = measured(additive(GAINS), torch.stack([GAINS, 10 - GAINS]), everyone(GAINS))["between"]
    every = torch.stack([torch.rand(2, 5, generator=torch.Generator().manual_seed(n)) for n in range(200)])
    others = measured(additive(GAINS), every.double(), everyone(GAINS))["between"]
    assert (others <= best + 1e-12).all()
    assert (others >= worst - 1e-12).all()
    torch.testing.assert_close(best, -worst)
    assert others.mean() == pytest.approx(0, abs=0.05)


def test_ranks_are_scipys() -> None:
    maps = torch.randn(3, 2, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = measured(additive(GAINS), maps, everyone(GAINS))["rank_correlation"]
    for method in range(3):
        for target in range(2):
            expected = stats.spearmanr(maps[method, target].abs(), GAINS[target]).statistic
            assert found[method, target] == pytest.approx(expected)


def test_players_alone_are_removed_and_counted() -> None:
    players = everyone(GAINS)
    players[:, 0] = False
    some = measured(additive(GAINS), GAINS[None], players, steps=4, top_k=2)
    alone = measured(additive(GAINS[:, 1:]), GAINS[None, :, 1:], everyone(GAINS[:, 1:]), steps=4, top_k=2)
    for name, value in some.items():
        torch.testing.assert_close(value, alone[name])


def test_more_steps_than_players_change_nothing() -> None:
    few = measured(additive(GAINS), GAINS[None], everyone(GAINS), steps=5)
    many = measured(additive(GAINS), GAINS[None], everyone(GAINS), steps=50)
    for name, value in few.items():
        torch.testing.assert_close(many[name], value)


def test_targets_that_say_nothing_are_undefined() -> None:
    gains = torch.tensor([[0.0, 0.0, 0.0, 0.0], [1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0]])
    players = torch.ones(3, 4, dtype=torch.bool)
    players[2, 2:] = False
    found = measured(additive(gains.double()), gains.double()[None], players, top_k=3)
    for name, value in found.items():
        assert math.isnan(value[0, 0]), name  # it does not move
        assert not math.isnan(value[0, 1]), name
        assert math.isnan(value[0, 2]), name  # two players
    fewer = measured(additive(gains.double()), gains.double()[None], players, top_k=4)
    assert math.isnan(fewer["sufficiency"][0, 1])  # all four would be the first four
    assert not math.isnan(fewer["deletion"][0, 1])
