"""Which layers are validated anew, and which share what was found before."""

import gc

import pytest
import torch

from architectures import ARCHITECTURES, build, example
from ligflow import Explainer
from ligflow.explainer import validated_layers


def test_layers_of_a_kind_are_validated_once_until_their_weights_change(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bert, calls = ARCHITECTURES["bert"], []
    validate = validated_layers.validate

    def counted(model: torch.nn.Module, layer: validated_layers.Layer) -> validated_layers.Layer:
        calls.append(layer.index)
        return validate(model, layer)

    monkeypatch.setattr(validated_layers, "validate", counted)
    model = build(bert)
    prepared = Explainer(model).prepared
    first = prepared.record(example(bert, 5))
    assert calls == [0, 1]
    again = prepared.record(example(bert, 4))
    assert calls == [0, 1]
    assert [layer.findings for layer in again] == [layer.findings for layer in first]
    with torch.no_grad():
        model.encoder.layer[1].output.dense.weight.mul_(2)
    prepared.record(example(bert, 5))
    assert calls == [0, 1, 1]


def test_an_explainer_that_is_gone_leaves_no_graph_behind() -> None:
    """A graph of validation that holds itself holds weights, and with one the memory of a whole file."""

    def graphs() -> int:
        gc.collect()
        tensors = [held for held in gc.get_objects() if issubclass(type(held), torch.Tensor)]
        return sum(tensor.grad_fn is not None for tensor in tensors)

    before = graphs()
    explainer = Explainer(build(ARCHITECTURES["llama"]))
    explainer.explain(example(ARCHITECTURES["llama"], 4))
    del explainer
    assert graphs() == before
