import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ligflow.prediction import graph, matrices
from ligflow.prediction.attention_switch import AttentionSwitch
from ligflow.prediction.graph import Runs, graph_of
from ligflow.prediction.matrices import Matrices, _matrix, _Noted, matrices_of
from ligflow.prediction.matrix_points import _right
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
    assert found.unitwise


class _Sparse(nn.Module):
    """An activation that leaves out what is below the mean of all units."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x - x.mean(-1, keepdim=True))


def test_units_are_known_to_depend_on_no_other() -> None:
    plain = _matrices(gpt2(), "MLP")
    assert plain is not None
    assert plain.unitwise
    model = gpt2()
    for block in model.transformer.h:
        block.mlp.act = _Sparse()
    sparse = _matrices(model, "MLP")
    assert sparse is not None
    assert not sparse.unitwise
    attention = _matrices(llama(), "attention")
    assert attention is not None
    assert not attention.unitwise


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


def _layers_of(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> tuple[list[Matrices | None], int]:
    """The matrices of both layers' MLPs, and how many of them were searched for."""
    searched: list[Segment] = []

    def search(segment: Segment, probes: Tensor) -> Matrices | None:
        searched.append(segment)
        return matrices_of(segment, probes)

    monkeypatch.setattr(matrices, "matrices_of", search)
    monkeypatch.setattr(matrices, "_models", weakref.WeakKeyDictionary())
    built = graph_of(runs).graph
    known = []
    with AttentionSwitch(runs.model) as attention:
        for segment in [each for each in built.segments if each.kind == "MLP"]:
            attention.to(segment.implementation)
            variable = built.variables[segment.sources[0]]
            known.append(matrices.known_matrices(segment, variable, partial(_right, segment)))
    return known, len(searched)


@pytest.mark.parametrize("make", [llama, gpt2])
def test_a_layers_matrices_are_those_of_another_on_its_own_modules(
    make: Callable[[], PreTrainedModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, _ = runs_of(make(), ids())
    both, searched = _layers_of(runs, monkeypatch)
    assert searched == 1
    segments = [each for each in graph_of(runs).graph.segments if each.kind == "MLP"]
    with AttentionSwitch(runs.model) as attention:
        attention.to(segments[1].implementation)
        searched_for = matrices_of(segments[1], PROBES)
    moved = both[1]
    assert moved is not None
    assert searched_for is not None
    assert [each.module for each in moved.first] == [each.module for each in searched_for.first]
    assert [each.turned for each in moved.first] == [each.turned for each in searched_for.first]
    assert moved.norm is not None
    assert searched_for.norm is not None
    assert moved.norm.module is searched_for.norm.module
    assert (moved.norm.centred, moved.norm.eps) == (searched_for.norm.centred, searched_for.norm.eps)
    assert moved.last is not None
    assert searched_for.last is not None
    assert moved.last.module is searched_for.last.module
    assert (moved.residual, moved.around) == (searched_for.residual, searched_for.around)
    assert moved.idle == searched_for.idle


def test_another_layers_matrices_that_are_not_right_are_not_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runs, _ = runs_of(llama(), ids())
    mlp: Any = runs.modules[1].mlp
    monkeypatch.setattr(
        mlp, "forward", lambda x: mlp.down_proj(mlp.act_fn(mlp.gate_proj(x)) * mlp.up_proj(2 * x))
    )
    monkeypatch.setattr(graph, "_same", lambda *_: True)
    (first, second), searched = _layers_of(runs, monkeypatch)
    assert first is not None
    assert searched == 2
    assert second is None  # its second matrix takes something else, which points by matrices cannot hold


def test_an_offset_that_appears_in_place_is_noticed() -> None:
    """A matrix without numbers beside its weight has none; one with a bias of zeros may get one."""
    x = torch.zeros(16, dtype=torch.float64)
    for bias in (True, False):
        module = nn.Linear(16, 8, bias=bias).double()
        with torch.no_grad():
            if bias:
                module.bias.zero_()
            matrix = _matrix(_Noted(module, torch.ones(1, 5, 16).double(), torch.ones(1, 5, 8).double()))
            assert matrix is not None
            assert matrix.shifts is bias
            assert torch.equal(matrix.image_of(x), torch.zeros(8).double())
            assert torch.equal(matrix.image_of(x + 2), module(x + 2))
            if bias:
                module.bias += 3
                assert torch.equal(matrix.image_of(x), torch.full((8,), 3.0).double())
