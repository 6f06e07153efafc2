"""The games of removal, by hand."""

import torch

from ligflow.evaluation.games import EFFECT, LOSS, alone, removal_game, still

VECTORS = torch.tensor([[3.0, 0.0], [0.0, 1.0], [-1.0, 0.0]], dtype=torch.float64)  # what each source gives
PLAYERS = torch.tensor([[True, True, True], [True, True, False]])


def image(removed: torch.Tensor) -> torch.Tensor:
    return (~removed).double() @ VECTORS + torch.tensor([5.0, 5.0], dtype=torch.float64)


def test_effect_and_loss_of_each_source_alone() -> None:
    """All together give (2, 1), of length sqrt 5; alone (3, 0), (0, 1), (-1, 0)."""
    found = alone(removal_game(image, PLAYERS), PLAYERS)
    root = 5**0.5
    torch.testing.assert_close(found[EFFECT, 0], torch.tensor([3, 1, 1]).double() / root)
    torch.testing.assert_close(found[LOSS, 0], torch.tensor([6, 1, -2]).double() / 5)
    torch.testing.assert_close(found[LOSS, 1], torch.tensor([9, 1, 0]).double() / 10)


def test_nothing_is_0_and_everything_1() -> None:
    game = removal_game(image, PLAYERS)
    ends = game(torch.stack([torch.zeros_like(PLAYERS), PLAYERS]))
    torch.testing.assert_close(ends, torch.tensor([[[0.0, 0], [1, 1]]] * 2).double())


def test_targets_that_say_nothing() -> None:
    def even(removed: torch.Tensor) -> torch.Tensor:
        return image(removed) * torch.tensor([1.0, 0.0])[:, None] + 1

    assert still(even, PLAYERS, fewest=2).tolist() == [False, True]  # the second does not move
    assert still(image, PLAYERS).tolist() == [False, True]  # the second has two players
