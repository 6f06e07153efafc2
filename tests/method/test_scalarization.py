import pytest
import torch

from ligflow import LigflowError, direction
from ligflow.method.scalarization import L2, Direction, Projection, unit

END = torch.tensor([[[3.0, 4.0]], [[0.0, 0.0]]])


def test_totals() -> None:
    assert L2().total(END).flatten().tolist() == [5, 0]
    assert Projection().total(END).flatten().tolist() == [5, 0]
    assert direction(torch.tensor([1.0, -1.0])).total(END).flatten().tolist() == [-1, 0]


def test_cotangent_of_l2_turns_with_what_moved_and_projection_does_not() -> None:
    moved = torch.tensor([[[0.0, 2.0]], [[1.0, 0.0]]])
    assert L2().cotangent(moved, END).tolist() == [[[0, 1]], [[1, 0]]]
    torch.testing.assert_close(Projection().cotangent(moved, END)[0, 0], torch.tensor([0.6, 0.8]))
    assert Projection().cotangent(moved, END)[1].abs().max() == 0


def test_the_scale_of_a_direction_does_not_cancel() -> None:
    across = direction(torch.tensor([4.0, -3.0]))
    assert float(across.total(END)[0]) == 0
    assert float(across.natural_scale(END)[0]) == pytest.approx(25)


def test_unit_survives_underflow_and_zero() -> None:
    tiny = torch.tensor([[3e-30, 4e-30], [0.0, 0.0], [3e30, 4e30]])
    torch.testing.assert_close(unit(tiny), torch.tensor([[0.6, 0.8], [0.0, 0.0], [0.6, 0.8]]))


def test_a_direction_with_nan_is_refused() -> None:
    with pytest.raises(LigflowError, match="NaN"):
        direction(torch.tensor([1.0, float("nan")]))
    assert isinstance(direction(torch.ones(2)), Direction)
