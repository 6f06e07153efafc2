"""Cotangents carried back through a segment at points, beside the whole Jacobian."""

import pytest
import torch
from torch.autograd.functional import jacobian

from ligflow import LigflowError
from ligflow.prediction.path_variable import Variable
from ligflow.prediction.pullback import points_at_once, pulled_back
from ligflow.prediction.segment import Segment


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


MIX, NODES = drawn(3, 3, seed=9), torch.tensor([0.25, 0.75], dtype=torch.float64)


def function(x: torch.Tensor) -> torch.Tensor:
    return torch.sin(x @ MIX) * x.sum(-2, keepdim=True)


SEGMENT = Segment("f", 0, "f", ("x",), ("y",), lambda values: {"y": function(values["x"])})


def test_every_row_at_every_point_is_the_jacobian_s_transpose() -> None:
    x, m = Variable(drawn(4, 3, seed=1), drawn(4, 3, seed=2)), drawn(2, 4, 3, seed=3)
    own, carried = pulled_back(SEGMENT, {"x": x}, {"y": m}, {"y": 2 * m}, NODES)
    assert own["x"].shape == (2, 2, 4, 3)
    for point, node in enumerate(NODES):
        whole = jacobian(function, x.reference + node * x.step)
        for row in range(2):
            wanted = torch.einsum("td,tdsc->sc", m[row], whole)
            torch.testing.assert_close(own["x"][point, row], wanted)
    torch.testing.assert_close(carried["x"], 2 * own["x"][0])  # at the first point alone


def test_examples_have_rows_of_their_own() -> None:
    each, m = [Variable(drawn(4, 3, seed=s), drawn(4, 3, seed=s + 1)) for s in (1, 5)], drawn(2, 4, 3, seed=3)
    both = Variable(
        *(torch.stack([getattr(v, end) for v in each]) for end in ("real", "reference")), rows=True
    )
    own, errors = pulled_back(SEGMENT, {"x": both}, {"y": m}, {"y": m}, NODES)
    for row, variable in enumerate(each):
        alone, _ = pulled_back(SEGMENT, {"x": variable}, {"y": m[row : row + 1]}, {}, NODES)
        torch.testing.assert_close(own["x"][:, row], alone["x"][:, 0])
        torch.testing.assert_close(errors["x"][row], alone["x"][0, 0])


def test_a_segment_that_gives_no_numbers_is_named() -> None:
    broken = Segment("layer 3, MLP", 3, "MLP", ("x",), ("y",), lambda values: {"y": values["x"] / 0})
    x = Variable(drawn(4, 3), drawn(4, 3, seed=1))
    with pytest.raises(LigflowError, match="layer 3, MLP: the model gives NaN or infinite values"):
        pulled_back(broken, {"x": x}, {"y": drawn(1, 4, 3)}, {}, NODES)


def test_points_go_together_as_long_as_their_tokens_are_few() -> None:
    assert points_at_once({"x": Variable(torch.ones(100, 1), torch.zeros(100, 1))}) == 10
    assert points_at_once({"x": Variable(torch.ones(2, 100, 1), torch.zeros(2, 100, 1), rows=True)}) == 5
    assert points_at_once({"x": Variable(torch.ones(5000, 1), torch.zeros(5000, 1))}) == 1
