import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ligflow import LigflowError, direction
from ligflow.method.scalarization import L2, CheckedScalarization, Direction, Projection, unit

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


@dataclass
class Chosen:
    """Tokens 1, 2 and 4 are seen, and two of them are targets."""

    visible: Tensor = field(default_factory=lambda: torch.tensor([1, 2, 4]))
    targets: Tensor = field(default_factory=lambda: torch.tensor([4, 1]))


@pytest.mark.parametrize(
    ("route", "scalars", "shape"),
    [("z2z", 1, (3, 2)), ("u2z", 1, (3, 2)), ("z2u", 4, (3, 4, 2))],
)
def test_a_direction_a_token_is_read_at_the_targets(route: str, scalars: int, shape: tuple[int, ...]) -> None:
    vectors = torch.arange(math.prod(shape), dtype=torch.float64).reshape(shape)
    fitted = Direction(vectors).fitted([Chosen(), Chosen()], route, lambda: (scalars, 2))
    wanted = vectors[[2, 0, 2, 0]].reshape(4, scalars, 2)
    assert torch.equal(fitted.vector, wanted)
    assert torch.equal(fitted.of_rows(torch.tensor([1, 3])).vector, wanted[[1, 3]])


@pytest.mark.parametrize(("route", "shape"), [("z2z", (2,)), ("z2u", (2,)), ("z2u", (4, 2))])
def test_a_direction_for_all_tokens_stays_as_it_is(route: str, shape: tuple[int, ...]) -> None:
    one = Direction(torch.ones(shape))
    assert one.fitted([Chosen()], route, lambda: (4 if route == "z2u" else 1, 2)) is one
    assert one.of_rows(torch.tensor([0])) is one
    assert one.like(torch.zeros(5, 4, 2, dtype=torch.float64)).vector.shape == (5, 4, 2)
    assert one.name == f"direction{list(shape)}"


@pytest.mark.parametrize(
    ("route", "shape"), [("z2z", (3,)), ("z2z", (2, 2)), ("z2u", (3, 2)), ("z2u", (4, 4, 2))]
)
def test_a_direction_that_does_not_fit_is_refused(route: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(LigflowError, match=f"The direction for {route} has shape .*it must be one of"):
        Direction(torch.ones(shape)).fitted([Chosen()], route, lambda: (4 if route == "z2u" else 1, 2))


@pytest.mark.usefixtures("no_shape_checks")
def test_a_direction_is_of_real_numbers() -> None:
    assert direction([1, 2]).vector.dtype == torch.float64  # whole numbers are numbers
    assert direction(np.array([1.0, 2.0], dtype=np.float32)).vector.dtype == torch.float32
    for wrong in (torch.tensor(1.0), torch.ones(2, dtype=torch.complex64), torch.tensor([True, False])):
        with pytest.raises(LigflowError, match="pass a vector of real numbers"):
            direction(wrong)
    with pytest.raises(LigflowError, match="The direction is str; pass a vector of numbers"):
        direction("up")  # type: ignore[arg-type]


class Own:
    """Half of the first component: L, and its derivative."""

    name = "half"

    def __init__(self, cut: int = 0) -> None:
        self.cut = cut

    def value(self, moved: Tensor, end: Tensor) -> Any:
        return (moved[..., 0] / 2)[self.cut :]

    def cotangent(self, moved: Tensor, end: Tensor) -> Any:
        return "up" if self.cut else torch.tensor([0.5, 0.0, 0.0]).expand_as(moved)


def test_ones_own_is_asked_for_both_and_held_to_its_shapes() -> None:
    moved, end = torch.ones(2, 4, 1, 3, dtype=torch.float64), torch.full((4, 1, 3), 3.0, dtype=torch.float64)
    own = CheckedScalarization(Own())
    assert (own.name, own.cancels) == ("half", "'half'")
    assert own.value(moved, end).tolist() == [[[0.5]] * 4] * 2
    assert own.cotangent(moved, end).dtype == torch.float64
    assert own.total(end).tolist() == [[1.5]] * 4
    with pytest.raises(LigflowError, match=r"value of the scalarization 'half' returned \[1, 4, 1\]"):
        CheckedScalarization(Own(1)).value(moved, end)
    with pytest.raises(
        LigflowError, match=r"cotangent of the scalarization 'half' returned str; .*\[2, 4, 1, 3\]"
    ):
        CheckedScalarization(Own(1)).cotangent(moved, end)
