"""Projections in closed form are those that the layer captures, on the path between two vectors too."""

from dataclasses import replace
from operator import itemgetter

import pytest
import torch
from torch import nn

from architectures import ARCHITECTURES, build, example
from ligflow.layer.closed_form import capture_with_inputs, is_leaf, norm_affine_projections, psi
from ligflow.layer.model_state import prepared
from ligflow.layer.projections import Norm
from ligflow.method.norm_affine import of_each, on_path
from ligflow.recording.record import record
from ligflow.recording.validation import validate


@pytest.mark.parametrize("name", ["bert", "llama", "gpt2", "qwen3"])
def test_projections_halfway_are_those_of_the_vectors_halfway(name: str) -> None:
    model = build(ARCHITECTURES[name], torch.float64)
    layer = validate(model, record(model, example(ARCHITECTURES[name], 4))[0])
    form = layer.findings.closed_form
    assert form is not None
    ends = torch.stack([layer.hidden, layer.hidden.flip(0)])
    with prepared(model, layer.implementation), torch.no_grad():
        _, parts = norm_affine_projections(layer, form, ends)
        halfway = layer.capture(ends.mean(0, keepdim=True))
    for part in ("key", "value"):
        real = replace(parts[part], offset=None)
        first, last = of_each(real, itemgetter(0)), of_each(real, itemgetter(1))
        offset = parts[part].offset
        last = replace(last, offset=None if offset is None else offset[0])
        found, _ = on_path(first, last, torch.tensor([0.5], dtype=torch.float64))
        torch.testing.assert_close(found[0], getattr(halfway, part)[0], rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("norm", [nn.LayerNorm(6, eps=0.3), nn.RMSNorm(6, eps=0.3)])
def test_a_feature_is_as_long_as_what_its_norm_divides_by(norm: nn.Module) -> None:
    x = torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
    centred = isinstance(norm, nn.LayerNorm)
    length = psi(x, Norm(norm, centred, 0.3)).norm(dim=-1, keepdim=True)
    torch.testing.assert_close((x - x.mean(-1, keepdim=True) if centred else x) / length, norm(x))


def test_inputs_and_outputs_of_leaves_are_seen_on_the_way() -> None:
    model = build(ARCHITECTURES["llama"], torch.float64)
    layer = record(model, example(ARCHITECTURES["llama"], 3))[0]
    outputs: dict[nn.Module, torch.Tensor] = {}
    with prepared(model):
        _, inputs = capture_with_inputs(layer, layer.hidden[None], outputs=outputs)
    norm, key = layer.module.input_layernorm, layer.module.self_attn.k_proj
    assert torch.equal(inputs[norm][0], layer.hidden)
    torch.testing.assert_close(outputs[key], inputs[key] @ key.weight.T)
    assert layer.module.mlp.up_proj not in inputs  # it stops at its attention
    assert not any(module._forward_hooks for module in model.modules())


def test_a_module_whose_weights_are_made_by_others_is_a_leaf() -> None:
    assert is_leaf(nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)))
    assert not is_leaf(nn.Sequential(nn.Linear(2, 2)))
