import torch

from ligflow.prediction.path_points import PlainPoints
from ligflow.prediction.segment import Segment, Variable


def test_a_rule_of_three_points_is_exact_for_a_polynomial() -> None:
    segment = Segment("f", 0, "f", ("x",), ("y",), lambda values: {"y": values["x"] ** 5}, True)
    real, reference = torch.tensor([[2.0], [1.0]]).double(), torch.tensor([[1.0], [-1.0]]).double()
    points = PlainPoints(segment, {"x": Variable(real, reference)}, {"y": torch.ones(1, 2, 1).double()})
    points.at(torch.tensor([0.5, (1 + 0.6**0.5) / 2, (1 - 0.6**0.5) / 2], dtype=torch.float64))
    change, step = real**5 - reference**5, real - reference
    assert torch.allclose(points.by_token(1, 1.0), change.T)
    assert torch.allclose(points.cotangents([1], 0.5)[0]["x"][0] * 2 * step, change)
    assert not torch.allclose(points.by_token(0, 1.0), change.T)
