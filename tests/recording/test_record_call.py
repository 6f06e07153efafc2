"""One call of a layer, as a program makes it: the layer that the model's own recording has."""

from typing import Any

import pytest
import torch
from torch import nn
from transformers import PreTrainedModel

from architectures import ARCHITECTURES, build, example
from ligflow.errors import LigflowError, UnsupportedModel
from ligflow.recording.record import record
from ligflow.recording.record_call import record_call


def call_of(
    model: PreTrainedModel, part: nn.Module, inputs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
    handle = part.register_forward_pre_hook(
        lambda _module, args, kwargs: calls.append((args, kwargs)), with_kwargs=True
    )
    with torch.no_grad():
        model(**inputs)
    handle.remove()
    return calls[0]


@pytest.mark.parametrize("name", ["llama", "bert"])
def test_it_is_the_layer_that_a_run_of_the_model_records(name: str) -> None:
    model, inputs = build(ARCHITECTURES[name], torch.float64), example(ARCHITECTURES[name], 4)
    expected = record(model, inputs)[1]
    args, kwargs = call_of(model, expected.module, inputs)
    layer = record_call(expected.module, args, kwargs, 1)
    assert (layer.mode, layer.index, layer.first) == ("split", 1, expected.first)
    torch.testing.assert_close(
        layer.hidden, expected.hidden, rtol=0, atol=1e-6
    )  # rounded by the model itself
    torch.testing.assert_close(layer.output, expected.output, rtol=0, atol=1e-6)


def test_a_causal_layer_gets_the_mask_that_its_fused_attention_means() -> None:
    model, inputs = build(ARCHITECTURES["llama"]), example(ARCHITECTURES["llama"], 4)
    assert model.config._attn_implementation == "sdpa"
    args, kwargs = call_of(model, model.layers[0], inputs)
    layer = record_call(model.layers[0], args, kwargs | {"attention_mask": None}, 0)
    mask = layer.arguments["attention_mask"]
    assert (mask < -1e30).reshape(4, 4).tolist() == torch.ones(4, 4).triu(1).bool().tolist()


def test_a_module_that_is_no_layer_is_refused() -> None:
    hidden = torch.randn(1, 3, 4)
    with pytest.raises(UnsupportedModel, match="Linear is not a layer: no token depends on another"):
        record_call(nn.Linear(4, 4), (hidden,), {}, 0)
    with pytest.raises(UnsupportedModel, match="its input and output are not hidden states of one shape"):
        record_call(nn.Linear(4, 2), (hidden,), {}, 0)
    with pytest.raises(LigflowError, match=r"Linear could not run on these arguments \(hidden_states\)"):
        record_call(nn.Linear(5, 5), (hidden,), {}, 0)
