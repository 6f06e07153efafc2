from collections.abc import Mapping

import torch
from torch import Tensor

from ligflow.method.quadrature_rules import LEVELS, patterson_weights
from ligflow.prediction.path_points import PlainPoints, PointSums
from ligflow.prediction.path_variable import Variable
from ligflow.prediction.segment import Segment


def test_a_rule_of_three_points_is_exact_for_a_polynomial() -> None:
    segment = Segment("f", 0, "f", ("x",), ("y",), lambda values: {"y": values["x"] ** 5}, True)
    real, reference = torch.tensor([[2.0], [1.0]]).double(), torch.tensor([[1.0], [-1.0]]).double()
    points = PlainPoints(segment, {"x": Variable(real, reference)}, {"y": torch.ones(1, 2, 1).double()})
    points.at(torch.tensor([0.5, (1 + 0.6**0.5) / 2, (1 - 0.6**0.5) / 2], dtype=torch.float64))
    change, step = real**5 - reference**5, real - reference
    assert torch.allclose(points.by_token(1, 1.0), change.T)
    assert torch.allclose(points.cotangents([1], 0.5)[0]["x"][0] * 2 * step, change)
    assert not torch.allclose(points.by_token(0, 1.0), change.T)


def test_sums_over_points_are_those_of_every_rule_however_they_come() -> None:
    points = torch.randn(31, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for sizes in ([31], [1] * 31, [1, 2, 4, 8, 16], [7, 8, 10, 6]):
        sums, rows = PointSums(), torch.tensor([2, 0])
        for block in points.split(sizes):
            sums.add(block)
        for level in range(LEVELS):
            weights = torch.from_numpy(patterson_weights(level)) / 8
            sought = torch.einsum("p,prd->rd", weights, points[: len(weights)])
            assert torch.allclose(sums.of(level, 0.25), sought, rtol=1e-12, atol=1e-12)
            assert torch.allclose(sums.only(rows).of(level, 0.25), sought[rows], rtol=1e-12, atol=1e-12)


def test_fewer_points_of_a_vocabulary_go_through_at_once() -> None:
    counts = list[int]()

    def run(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        counts.append(len(values["x"]))
        return {"y": values["x"].square()}

    for kind, wanted in (("head", [6, 6, 3]), ("MLP", [15])):
        segment = Segment("f", None, kind, ("x",), ("y",), run)
        sources = {"x": Variable(torch.ones(10, 1), torch.zeros(10, 1))}
        points = PlainPoints(segment, sources, {"y": torch.ones(1, 10, 1)})
        points.at(torch.linspace(0.1, 0.9, 15, dtype=torch.float64))
        assert counts == wanted
        del counts[:]
