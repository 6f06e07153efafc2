"""What is held at the real run: the weights of attention, by layer."""

from dataclasses import replace

import pytest
import torch

from ligflow import LigflowError
from ligflow.explainer.prepared_model import PreparedModel
from ligflow.layer.model_state import prepared
from ligflow.prediction.held import Held, held_at
from ligflow.prediction.recorded import recorded_layers
from prediction.tiny import gpt2, ids


def test_held_attention_gives_what_heads_gave_and_is_linear_in_values(monkeypatch) -> None:
    copy = PreparedModel(gpt2()).now()
    model = copy.placement.model
    layers = recorded_layers(copy, {"input_ids": ids()}, None).layers
    held = held_at(model, layers, experts=False, attention=True)
    assert str(held) == "attention"
    assert bool(held)
    for number, layer in enumerate(layers):
        [attention] = held.attends(number)
        weights = attention.weights.p
        torch.testing.assert_close(weights.sum(-1), torch.ones_like(weights[..., 0]))
        with prepared(model, layer.implementation):
            captured, u = layer.capture(layer.hidden[None]), layer.attend(layer.hidden[None])
        own = attention(captured)
        torch.testing.assert_close(own.transpose(1, 2), u)
        with monkeypatch.context() as few:
            few.setattr("ligflow.method.attention._BLOCK", 1)  # a target at a time
            torch.testing.assert_close(attention(captured), own)
        torch.testing.assert_close(attention(replace(captured, value=2 * captured.value)), 2 * own)


def test_nothing_is_held_where_nothing_is_asked_for_and_experts_must_be_there() -> None:
    assert not Held()
    assert str(Held()) == ""
    copy = PreparedModel(gpt2()).now()
    layers = recorded_layers(copy, {"input_ids": ids()}, None).layers
    with pytest.raises(LigflowError, match="No layer of this model chooses experts"):
        held_at(copy.placement.model, layers, experts=True, attention=False)
