"""Where experts change: stops of every token, what touches, and what cannot be closed in on."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ligflow.prediction.path_variable import Values, Variable
from ligflow.prediction.routing import routed_average
from ligflow.prediction.routing_changes import RoutedPath, Unlocated, directions_of, stops_of
from ligflow.prediction.segment import Segment


def segment_of(score: Callable[[Tensor], Tensor], tokenwise: bool = True, tokens: int = 1) -> Segment:
    """Gives 1 more where the score of a token's first number is positive."""

    def run(values: Values) -> Values:
        x = values["x"]
        gap = score(x[..., 0])
        chosen = torch.stack([torch.zeros_like(gap), gap], dim=-1).flatten(0, 1).topk(1).indices
        return {"y": x + chosen.reshape(*x.shape[:2], 1)}

    return Segment("MLP", 3, "MLP", ("x",), ("y",), run, tokenwise, choices=(tokens,))


def path_of(
    segment: Segment, starts: list[float], ends: list[float]
) -> tuple[RoutedPath, dict[str, Variable]]:
    start, end = (torch.tensor(each, dtype=torch.float64)[:, None] for each in (starts, ends))
    images = segment.run({"x": torch.stack([start, end])})["y"]
    variables = {"x": Variable(end, start), "y": Variable(images[1], images[0])}
    return RoutedPath(segment, {"x": variables["x"]}), variables


def test_every_token_has_as_many_stops_and_those_that_are_no_change_halve_the_longest_piece() -> None:
    path, _ = path_of(segment_of(lambda x: (x - 0.3) * (x - 0.9), tokens=3), [0, 0, 0.4], [1, 0.5, 0.8])
    stops = stops_of(path, 32)
    assert stops.change.T.tolist() == [[True, True], [False, True], [False, False]]
    expected = torch.tensor([[0.3, 0.9], [0.3, 0.6], [0.25, 0.5]]).double().T
    assert torch.allclose((stops.low + stops.high) / 2, expected, atol=1e-10)
    assert ((stops.low < stops.high) == stops.change).all()
    slope = directions_of(path, stops).slope
    assert torch.allclose(slope[:, 0], torch.tensor([0.6, 0.6]).double(), atol=1e-9)


def test_a_path_that_only_touches_has_its_jump_along_the_motion_and_is_named() -> None:
    """`g = (x - 1/2)^3 + w` changes its sign where the path, on which w is 0, runs along `g = 0`."""

    def run(values: Values) -> Values:
        x, w = values["x"].unbind(-1)
        gap = (x - 0.5) ** 3 + w
        chosen = torch.stack([torch.zeros_like(gap), gap], dim=-1).flatten(0, 1).topk(1).indices
        return {"y": values["x"] + chosen.reshape(*x.shape, 1)}

    segment = Segment("MLP", 3, "MLP", ("x",), ("y",), run, True, choices=(1,))
    ends = torch.tensor([[[0.0, 0.0]], [[2.0, 0.0]]], dtype=torch.float64)
    images = run({"x": ends})["y"]
    variables = {"x": Variable(ends[1], ends[0]), "y": Variable(images[1], images[0])}
    m = torch.tensor([[[2.0, 1.0]]], dtype=torch.float64)
    result = routed_average(segment, variables, {"y": m}, {}, torch.tensor([1e-9]).double())
    assert result.jumps.tolist() == [[pytest.approx(3.0, abs=1e-9)]]
    assert result.cotangents["x"].flatten().tolist() == pytest.approx([2 + 3 / 2, 1.0], abs=1e-9)
    assert result.note == "1 change of experts only touches the path: its direction is that of the motion"


def test_choices_that_flicker_are_not_located_and_named() -> None:
    path, variables = path_of(segment_of(lambda x: (1e9 * x).sin()), [0.0], [1.0])
    with pytest.raises(Unlocated, match="flicker"):
        stops_of(path, 32)
    m = torch.ones(1, 1, 1, dtype=torch.float64)
    result = routed_average(path.segment, variables, {"y": m}, {}, torch.tensor([1e-3]).double())
    assert result.note == "the jumps of changing experts are not located: choices flicker along the path"
    assert result.jumps.tolist() == [[0.0]]
    assert float(result.error) > 0.5


def test_scores_without_a_gradient_and_too_many_changes_are_named() -> None:
    path, variables = path_of(segment_of(lambda x: (x - 0.3).detach()), [0.0], [1.0])
    with pytest.raises(Unlocated, match="have no gradient"):
        directions_of(path, stops_of(path, 32))
    path, variables = path_of(segment_of(lambda x: (60 * x + 1).sin()), [0.0], [1.0])
    m = torch.ones(1, 1, 1, dtype=torch.float64)
    result = routed_average(path.segment, variables, {"y": m}, {}, torch.tensor([1e-3]).double(), 31)
    assert result.note.endswith("there are 19, more than max_points=31 allows")


def test_scores_that_a_model_takes_without_gradients_have_one_here() -> None:
    path, _ = path_of(segment_of(torch.no_grad()(lambda x: x - 0.3)), [0.0], [1.0])
    slope = directions_of(path, stops_of(path, 32)).slope
    assert slope.tolist() == [[pytest.approx(1.0)]]


def test_one_path_for_all_tokens_cuts_it_where_any_of_them_changes() -> None:
    path, _ = path_of(segment_of(lambda x: x - 0.3, False, 2), [0, 0.2], [1, 0.7])
    stops = stops_of(path, 32)
    assert torch.allclose(stops.low, torch.tensor([[0.2], [0.3]]).double(), atol=1e-9)
    assert directions_of(path, stops).owner.tolist() == [[0.0, 1.0], [1.0, 0.0]]


def test_what_comes_and_goes_between_two_looks_is_found_where_a_point_meets_it() -> None:
    """It is off by a known amount after 32 looks, so that the path is looked at again."""

    def run(values: Values) -> Values:
        x = values["x"]
        gap = 0.004**2 - (x[..., 0] - (1 - 0.6**0.5) / 2) ** 2  # about the first of three points
        chosen = torch.stack([torch.zeros_like(gap), gap], dim=-1).flatten(0, 1).topk(1).indices
        return {"y": x + chosen.reshape(*x.shape[:2], 1) * x}

    segment = Segment("MLP", 0, "MLP", ("x",), ("y",), run, True, choices=(1,))
    start, end = torch.tensor([[[0.0]], [[1.0]]], dtype=torch.float64)
    variables = {"x": Variable(end, start), "y": Variable(end, start)}
    path = RoutedPath(segment, {"x": variables["x"]})
    assert len(stops_of(path, 32).low) == 0
    m = torch.ones(1, 1, 1, dtype=torch.float64)
    result = routed_average(segment, variables, {"y": m}, {}, torch.tensor([1e-6]).double())
    assert float(result.jumps) == pytest.approx(-0.008, abs=1e-8)
    assert float(result.error) < 1e-6
