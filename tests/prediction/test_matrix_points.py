from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ligflow.prediction import matrix_points
from ligflow.prediction.attention_switch import AttentionSwitch
from ligflow.prediction.graph import graph_of
from ligflow.prediction.matrix_line import product
from ligflow.prediction.matrix_points import MatrixPoints, points_of
from ligflow.prediction.path_points import PlainPoints
from ligflow.prediction.path_variable import Variable
from ligflow.prediction.segment import Segment
from prediction.tiny import gpt2, ids, llama, runs_of

NODES = torch.tensor([0.5, 0.1, 0.93], dtype=torch.float64)


def _noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("make", [llama, gpt2])
@pytest.mark.parametrize("kind", ["MLP", "attention"])
@pytest.mark.parametrize("rows", [False, True])
@pytest.mark.parametrize(("together", "numbers"), [(1, None), (3, None), (3, 1)])  # numbers in front of φ
def test_points_are_those_of_autograd(
    make: Callable[[], PreTrainedModel],
    kind: str,
    rows: bool,
    together: int,
    numbers: int | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(matrix_points, "_AT_ONCE", numbers or matrix_points._AT_ONCE)
    model = make()
    for parameter in model.parameters():  # biases too
        parameter.data += 0.1 * _noise(*parameter.shape, seed=4)
    runs, _ = runs_of(model, ids())
    graph = graph_of(runs).graph
    (segment, *_) = [each for each in graph.segments if each.kind == kind]
    (source,), (image,) = segment.sources, segment.images
    own = graph.variables[source]
    real, reference = (
        torch.stack([end, end + _noise(*end.shape, seed=1)]) if rows else end
        for end in (own.real, own.reference)
    )
    sources = {source: Variable(real, reference, rows=rows)}
    above = {image: _noise(2, *graph.variables[image].real.shape, seed=2)}
    carried = {image: _noise(2, *graph.variables[image].real.shape, seed=3)}
    with AttentionSwitch(runs.model) as attention:
        attention.to(segment.implementation)
        ours, plain = points_of(segment, sources, above), PlainPoints(segment, sources, above)
        assert isinstance(ours, MatrixPoints)
        assert ours._matrices.unitwise == (kind == "MLP")
        first = [points.with_carried(NODES[:together], carried) for points in (ours, plain)]
        for points in (ours, plain):
            points.at(NODES[together:])
        assert torch.allclose(ours.by_token(1, 0.3), plain.by_token(1, 0.3), atol=1e-10)
        pairs = [
            first,
            *zip(ours.cotangents([1, 0], 0.3), plain.cotangents([1, 0], 0.3), strict=True),
        ]
        for a, b in pairs:
            assert torch.allclose(a[source], b[source], rtol=1e-9, atol=1e-10)
        if rows:
            second = torch.tensor([1])
            a, b = ours.only(second).cotangents([1], 1.0)[0], plain.cotangents([1], 1.0)[0]
            assert torch.allclose(a[source], b[source][second], rtol=1e-9, atol=1e-10)


def test_many_rows_whose_sums_would_not_fit_go_point_by_point(monkeypatch: pytest.MonkeyPatch) -> None:
    runs, _ = runs_of(llama(), ids())
    graph = graph_of(runs).graph
    (segment, *_) = [each for each in graph.segments if each.kind == "MLP"]
    (source,), (image,) = segment.sources, segment.images
    sources = {source: graph.variables[source]}
    with AttentionSwitch(runs.model) as attention:
        attention.to(segment.implementation)
        above = [{image: _noise(rows, *graph.variables[image].real.shape)} for rows in (1, 20)]
        size = 5 * 48 * 8  # tokens, numbers that enter φ, bytes of each
        monkeypatch.setattr(matrix_points, "_KEPT", (9 + 8 * 10) * size)
        one, many = (points_of(segment, sources, each) for each in above)
        assert isinstance(one, MatrixPoints)
        assert isinstance(many, PlainPoints)
        monkeypatch.setattr(matrix_points, "_KEPT", (9 + 8 * 20) * size)
        assert isinstance(points_of(segment, sources, above[1]), MatrixPoints)


class _Beside(nn.Module):
    """A matrix whose input takes another way too."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.matrix = nn.LayerNorm(16).double(), nn.Linear(16, 16).double()

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm(x)
        return torch.tanh(self.matrix(normed)) * normed.square()


def test_a_segment_that_is_more_than_its_matrices_goes_point_by_point() -> None:
    module = _Beside()
    segment = Segment(
        "f", 0, "f", ("x",), ("y",), lambda values: {"y": module(values["x"])}, True, module=module
    )
    sources = {"x": Variable(_noise(5, 16, seed=1), _noise(5, 16, seed=2))}
    assert isinstance(points_of(segment, sources, {"y": _noise(1, 5, 16)}), PlainPoints)


def test_products_over_a_vocabulary_keep_their_digits() -> None:
    generator = torch.Generator().manual_seed(0)
    slopes = torch.randn(1, 1, 2**16, generator=generator).softmax(-1)
    slopes[..., 7] -= slopes.sum()  # as those of a log-probability, which sum to 0
    matrix = torch.randn(2**16, 32, generator=generator) + 30
    true = slopes.double() @ matrix.double()
    assert float((product(slopes, matrix) - true).norm() / true.norm()) < 5e-5  # 1.3e-4 in one sum
    few = slopes[..., :100]
    assert torch.equal(product(few, matrix[:100]), few @ matrix[:100])
