"""Layers of one model on the hidden states of another's."""

import pytest
import torch

from architectures import ARCHITECTURES, build, example
from ligflow import Explainer, LigflowError
from ligflow.evaluation.shuffled_weights import with_shuffled_weights
from ligflow.explainer.other_input import on_hidden_states_of

BERT = ARCHITECTURES["bert"]


def test_every_layer_takes_what_the_other_model_gives_it() -> None:
    model, inputs = build(BERT), example(BERT, 5)
    own, other = Explainer(model).prepared, Explainer(with_shuffled_weights(model)).prepared
    lone = own.example(own.encode(inputs), ("z2z",), None, None)
    moved = on_hidden_states_of(other, own, lone, inputs, truncate=False)
    for layer, theirs, before in zip(moved.layers, other.record(inputs), lone.layers, strict=True):
        assert torch.equal(layer.hidden, theirs.hidden)
        with own.ready_for(layer), torch.no_grad():
            torch.testing.assert_close(layer.output, before.forward(theirs.hidden[None])[0])
    assert not torch.equal(moved.layers[1].hidden, lone.layers[1].hidden)


def test_models_of_other_sizes_are_refused() -> None:
    wide = type(BERT)(BERT.model, {**BERT.config, "hidden_size": 16})
    own, other, inputs = Explainer(build(BERT)).prepared, Explainer(build(wide)).prepared, example(BERT, 5)
    lone = own.example(own.encode(inputs), ("z2z",), None, None)
    with pytest.raises(LigflowError, match=r"Layer 0 of BertModel takes hidden states of shape \(5, 32\)"):
        on_hidden_states_of(other, own, lone, inputs, truncate=False)
