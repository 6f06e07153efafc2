"""Products of the reference run at the start of a path, beside those that are made anew."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn
from transformers import PreTrainedModel

from ligflow.explainer.prepared_model import PreparedModel
from ligflow.prediction import inner_states
from ligflow.prediction.attention_switch import AttentionSwitch
from ligflow.prediction.graph import Built, graph_of
from ligflow.prediction.inner_states import InnerStates
from ligflow.prediction.matrices import Matrices, known_matrices
from ligflow.prediction.matrix_line import Line
from ligflow.prediction.path_variable import Variable
from ligflow.prediction.products import with_products
from ligflow.prediction.segment import Segment
from ligflow.prediction.together import graph_of_all
from ligflow.prediction.two_runs import LayerRun
from prediction.tiny import gpt2, ids, llama, runs_of

NODES = torch.tensor([0.0, 0.3, 1.0], dtype=torch.float64)


def _built(model: PreTrainedModel) -> tuple[Built, PreTrainedModel]:
    with torch.no_grad():
        for parameter in model.parameters():  # biases too
            parameter += (
                0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(4)).double()
            )
    whole = PreparedModel(model)
    graph_of(runs_of(whole, ids())[0])  # so that the forms of layers are known
    runs, own = runs_of(whole, ids())
    return graph_of(runs), own


def _segment(built: Built, own: PreTrainedModel, kind: str) -> tuple[Segment, Variable, Matrices]:
    segment = next(each for each in built.graph.segments if each.kind == kind)
    variable = built.graph.variables[segment.sources[0]]
    with AttentionSwitch(own) as attention:
        attention.to(segment.implementation)
        matrices = known_matrices(replace(segment, products=None), variable, lambda *_: True)
    assert matrices is not None
    return segment, variable, matrices


@pytest.mark.parametrize("make", [llama, gpt2])
@pytest.mark.parametrize("kind", ["MLP", "attention"])
def test_what_enters_is_what_products_made_anew_give(make: Callable[[], PreTrainedModel], kind: str) -> None:
    built, own = _built(make())
    segment, variable, matrices = _segment(built, own, kind)
    assert segment.products is not None
    modules = [matrix.module for matrix in matrices.first]
    assert segment.products.at is variable.reference
    assert segment.products.of(modules) is not None
    with AttentionSwitch(own) as attention, torch.no_grad():
        attention.to(segment.implementation)
        ours, anew = (
            Line.of(each, matrices, variable) for each in (segment, replace(segment, products=None))
        )
        torch.testing.assert_close(
            ours.entering(ours.places(NODES)), anew.entering(anew.places(NODES)), atol=1e-11, rtol=1e-11
        )
        off = {module: product + 1 for module, product in segment.products.by_module.items()}
        wrong = replace(segment, products=replace(segment.products, by_module=off))
        moved = Line.of(wrong, matrices, variable)
        assert not torch.allclose(moved.entering(moved.places(NODES)), anew.entering(anew.places(NODES)))
        part = replace(variable, reference=variable.at(NODES[1:2])[0])  # another start of the path
        ours, anew = (Line.of(each, matrices, part) for each in (wrong, replace(segment, products=None)))
        assert torch.equal(ours.entering(ours.places(NODES)), anew.entering(anew.places(NODES)))


def test_an_mlp_whose_norm_takes_its_source_is_not_run_to_see_what_it_takes() -> None:
    built, own = _built(llama())
    segment, variable, matrices = _segment(built, own, "MLP")
    assert segment.products is not None
    assert segment.products.entrance is matrices.entrance
    with AttentionSwitch(own), torch.no_grad():
        Line.of(replace(segment, run=_refused), matrices, variable)
    with pytest.raises(AssertionError, match="run"):
        Line.of(replace(segment, products=None, run=_refused), matrices, variable)


def _refused(_values: object) -> dict[str, torch.Tensor]:
    raise AssertionError("run")


def test_products_beyond_the_room_for_them_are_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inner_states, "_PRODUCTS", 5 * (16 + 8 + 8) * 8)  # the first layer's q, k, v
    built, _ = _built(llama())
    noted = [
        len(segment.products.by_module) if segment.products else 0
        for segment in built.graph.segments
        if segment.kind == "attention"
    ]
    assert noted == [3, 0]


def test_a_matrix_that_is_called_twice_or_changed_in_place_has_no_product() -> None:
    built, own = _built(llama())
    call, (segment, variable, _) = built.calls[0], _segment(built, own, "attention")
    twice, changed, kept = (nn.Linear(16, 3) for _ in range(3))
    product = torch.ones(1, 5, 3)
    states = InnerStates()
    for module, tensors in ((twice, [product, product]), (changed, [product.clone()]), (kept, [product])):
        states.products[module] = [(tensor, tensor._version) for tensor in tensors]
    states.products[changed][0][0].add_(1)
    reference = replace(_reference(built), inner=states)
    [of] = with_products([segment], call, {segment.sources[0]: variable}, reference)
    assert of.products is not None
    assert [*of.products.by_module] == [kept]


def _reference(built: Built) -> LayerRun:
    layer = built.calls[0].layer
    return LayerRun(layer.module, layer.first, dict(layer.arguments), layer.output, {})


def test_several_examples_take_none_of_the_first() -> None:
    built, _ = _built(llama())
    assert any(segment.products for segment in built.graph.segments)
    assert not any(segment.products for segment in graph_of_all([built, built]).segments)


def test_the_step_keeps_its_digits_where_both_runs_are_alike() -> None:
    built, own = _built(llama().float())
    segment, variable, matrices = _segment(built, own, "MLP")
    noise = torch.randn(variable.reference.shape, generator=torch.Generator().manual_seed(5))
    alike = Variable(variable.reference + 1e-5 * noise, variable.reference)
    assert matrices.norm is not None
    with torch.no_grad():
        scale, _ = matrices.norm.terms(alike.reference)
        step = (scale * alike.step).double()
        true = torch.cat([step @ matrix.weight.double() for matrix in matrices.first], dim=-1)
        ours = Line.of(segment, matrices, alike)._ends[0, :, 1]
    assert float((ours - true).norm() / true.norm()) < 1e-5  # a difference of two products is off by 1e-2
