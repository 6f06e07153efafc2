import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ligflow.prediction.attention_switch import AttentionSwitch
from ligflow.prediction.graph import graph_of
from ligflow.prediction.matrices import Matrices, matrices_of
from ligflow.prediction.segment import Segment
from prediction.tiny import gpt2, ids, llama, runs_of

PROBES = torch.randn(2, 5, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def _matrices(model: PreTrainedModel, kind: str) -> Matrices | None:
    runs, _ = runs_of(model, ids())
    (segment, *_) = [each for each in graph_of(runs).graph.segments if each.kind == kind]
    with AttentionSwitch(runs.model) as attention:
        attention.to(segment.implementation)
        return matrices_of(segment, PROBES)


def test_an_mlp_begins_with_its_norm_and_ends_with_its_last_matrix() -> None:
    found = _matrices(llama(), "MLP")
    assert found is not None
    assert found.norm is not None
    assert found.last is not None
    assert [tuple(each.weight.shape) for each in found.first] == [(16, 24), (16, 24)]
    assert tuple(found.last.weight.shape) == (24, 16)
    assert found.residual
    assert not found.norm.centred
    assert type(found.around).__name__ == "LlamaMLP"


def test_attention_begins_with_queries_keys_and_values() -> None:
    found = _matrices(llama(), "attention")
    assert found is not None
    assert [tuple(each.weight.shape) for each in found.first] == [(16, 16), (16, 8), (16, 8)]
    assert found.last is None
    assert found.around is None


def test_a_matrix_that_keeps_its_weight_the_other_way_round_is_known() -> None:
    found = _matrices(gpt2(), "MLP")
    assert found is not None
    assert found.norm is not None
    assert found.norm.centred
    assert [(each.turned, tuple(each.weight.shape)) for each in found.first] == [(False, (16, 64))]


def test_the_terms_of_a_norm_are_its_weight_and_bias() -> None:
    found = _matrices(gpt2(), "MLP")
    assert found is not None
    assert found.norm is not None
    norm = found.norm.module
    for weight in norm.parameters():
        nn.init.normal_(weight)
    with torch.no_grad():
        scale, offset = found.norm.terms(PROBES[0])
    assert torch.allclose(scale, norm.weight, atol=1e-12)  # type: ignore[arg-type]
    assert torch.allclose(offset, norm.bias, atol=1e-12)  # type: ignore[arg-type]


class _Twice(nn.Module):
    def __init__(self, again: bool) -> None:
        super().__init__()
        self.matrix, self.again = nn.Linear(16, 16).double(), again

    def forward(self, x: Tensor) -> Tensor:
        y = torch.tanh(self.matrix(x))
        return self.matrix(y) if self.again else y


@pytest.mark.parametrize("again", [False, True])
def test_a_matrix_that_is_used_twice_is_none(again: bool) -> None:
    module = _Twice(again)
    segment = Segment(
        "f", 0, "f", ("x",), ("y",), lambda values: {"y": module(values["x"])}, True, module=module
    )
    assert (matrices_of(segment, PROBES) is None) == again
