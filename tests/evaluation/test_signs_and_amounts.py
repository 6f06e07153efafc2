"""Signs and amounts by hand."""

import pytest
import torch

from ligflow.evaluation.signs_and_amounts import amounts, signs

LOST = torch.tensor([[4.0, -1.0, 2.0, 0.0, -3.0]])
PLAYERS = torch.tensor([[True, True, True, True, True]])


def test_signs_by_hand() -> None:
    maps = torch.tensor([[[1.0, 1.0, -1.0, 1.0, -1.0]], [[1.0, 1.0, 1.0, 1.0, 1.0]]])
    found = signs(maps, LOST, PLAYERS)
    assert found["signs"][0].item() == pytest.approx(2 / 4)  # the source without any effect does not count
    assert found["signs_weighted"][0].item() == pytest.approx(7 / 10)
    assert found["negatives"][0].item() == pytest.approx(1 / 2)
    assert found["signs"][1].item() == pytest.approx(2 / 4)
    assert found["negatives"][1].isnan()  # nothing is negative


def test_players_alone_count() -> None:
    players = torch.tensor([[True, False, True, True, False]])
    found = signs(torch.ones(1, 1, 5), LOST, players)
    assert found["signs"].item() == found["signs_weighted"].item() == 1
    maps = torch.tensor([[[2.0, 9.0, 1.0, 0.0, 9.0]]])
    assert amounts(maps, LOST, players).item() == pytest.approx(1)


def test_amounts_are_those_up_to_one_factor() -> None:
    maps = torch.stack([7 * LOST, -LOST, LOST.abs(), torch.zeros_like(LOST)])
    found = amounts(maps, LOST, PLAYERS)[:, 0]
    assert found[:3].tolist() == pytest.approx([1, -1, (16 - 1 + 4 - 9) / 30])
    assert found[3].isnan()
    a, b = LOST.abs()[0].double(), LOST[0].double()
    left = (b - a * (a @ b) / (a @ a)).square().sum()
    assert found[2].item() ** 2 == pytest.approx(
        1 - float(left / b.square().sum())
    )  # R^2 of the best multiple
