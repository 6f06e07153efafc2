"""The layers of all stacks of a model, and which of them are a decoder's."""

from functools import wraps

import pytest
import torch

from asked_models import gpt2, t5
from ligflow.explainer.prepared_model import PreparedModel
from ligflow.layer.interface import IMPLEMENTATION
from ligflow.layer.model_state import prepared
from ligflow.prediction import recorded
from ligflow.prediction.recorded import recorded_layers
from ligflow.prediction.targets import question
from ligflow.prediction.two_runs import run_noting


def test_layers_of_a_decoder_alone_and_behind_an_encoder() -> None:
    causal = gpt2()
    asked = question(causal, "The river is long")
    one = recorded_layers(causal.now(), asked.inputs, asked.positions)
    assert [layer.name for layer in one.layers] == [
        f"transformer.h.{n}" for n in range(causal.model.config.n_layer)
    ]
    assert one.decoder == []
    assert one.layers[0].hidden.shape[-2] == len(asked.labels)
    pair = t5()
    asked = question(pair, "this is good")
    two = recorded_layers(pair.now(), asked.inputs, asked.positions)
    count = pair.model.config.num_layers
    assert [layer.name.split(".")[0] for layer in two.layers] == ["encoder"] * count + ["decoder"] * count
    assert two.decoder == two.layers[count:]


def forwards(whole: PreparedModel, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Counts the runs of the whole model."""
    counted, model = [0], whole.now().placement.model
    forward = model.forward

    @wraps(forward)  # whose signature says what it takes
    def counting(*args, **kwargs):
        counted[0] += 1
        return forward(*args, **kwargs)

    monkeypatch.setattr(model, "forward", counting)
    return counted


@pytest.mark.parametrize("make", [gpt2, t5])
def test_two_runs_are_enough_of_which_the_question_took_the_first(make, monkeypatch) -> None:
    whole = make()
    with whole.steady():
        counted = forwards(whole, monkeypatch)
        asked = question(whole, "this is good")
        assert counted == [1]
        recorded_layers(whole.now(), asked.inputs, asked.positions)
        assert counted == [2]
        recorded_layers(whole.now(), asked.inputs, asked.positions)  # as it is by itself
        assert counted == [4]


@pytest.mark.parametrize("make", [gpt2, t5])
def test_the_run_that_layers_are_recorded_in_is_the_model_s(make) -> None:
    whole = make()
    asked = question(whole, "this is good")
    copy = whole.now()
    layers = recorded_layers(copy, asked.inputs, asked.positions)
    assert layers.run is not None
    with prepared(copy.placement.model, IMPLEMENTATION):
        again = run_noting(
            copy.placement.model,
            asked.inputs,
            [layer.module for layer in layers.layers],
            None,
            asked.positions,
        )
    assert torch.equal(layers.run.embeddings, again.embeddings)
    assert torch.equal(layers.run.outputs.logits, again.outputs.logits)
    for ours, theirs in zip(layers.run.calls, again.calls, strict=True):
        assert ours.module is theirs.module
        assert ours.arguments.keys() == theirs.arguments.keys()
        assert torch.equal(ours.hidden, theirs.hidden)
        assert ours.written.keys() == theirs.written.keys()
    assert recorded.Recorded([], []).run is None
