"""Norm-based attention against the sums of vectors that define it, written out by the matrices."""

import pytest
import torch
from torch import Tensor, nn

from architectures import ARCHITECTURES, build, example
from ligflow import Explainer, UnsupportedModel
from ligflow.evaluation.norm_based_attention import norm_based, with_residual_and_norm
from ligflow.layer.layer import Layer
from ligflow.layer.model_state import prepared
from ligflow.routes.workspace import Selection
from recorded_layers import recorded_alone, shares

PROJECTIONS = {
    "bert": "attention.output.dense", "llama": "self_attn.o_proj", "gemma2": "self_attn.o_proj",
    "t5": "layer.0.SelfAttention.o", "gpt_neox": "attention.dense",
}  # fmt: skip


@pytest.mark.parametrize("name", PROJECTIONS)
def test_norm_based_attention_by_the_matrices(name: str) -> None:
    for layer, place in recorded_alone(name):
        p, value = shares(layer)
        weight = layer.module.get_submodule(PROJECTIONS[name]).weight
        by_head = weight.unflatten(1, (len(p), -1))
        expected = torch.einsum("hjk,hkd,ohd->jko", p, value, by_head).norm(dim=-1)
        torch.testing.assert_close(norm_based(layer, place), expected, rtol=1e-8, atol=1e-10)


def written(layer: Layer, name: str) -> Tensor:
    p, value = shares(layer)
    by_head = layer.module.get_submodule(PROJECTIONS[name]).weight.unflatten(1, (len(p), -1))
    return torch.einsum("hjk,hkd,ohd->jko", p, value, by_head)


def test_residual_and_norm_of_a_post_norm_model() -> None:
    """LayerNorm(y) = gain (y - mean y) / sd y + shift, with sd y that of the real y."""
    for layer, place in recorded_alone("bert"):
        output = layer.module.get_submodule("attention.output")
        parts = written(layer, "bert")
        parts[torch.arange(6), torch.arange(6)] += layer.hidden
        norm = output.LayerNorm
        total = parts.sum(1) + output.dense.bias
        deviation = (total.var(-1, unbiased=False) + norm.eps).sqrt()
        scaled = norm.weight * (parts - parts.mean(-1, keepdim=True)) / deviation[:, None, None]
        assert torch.allclose(scaled.sum(1), norm(total) - norm.bias - norm.weight * (
            (output.dense.bias - output.dense.bias.mean()) / deviation[:, None]))  # fmt: skip
        found = with_residual_and_norm(layer, place)
        torch.testing.assert_close(found, scaled.norm(dim=-1), rtol=1e-7, atol=1e-9)


def test_residual_of_a_pre_norm_model() -> None:
    for layer, place in recorded_alone("llama"):
        parts = written(layer, "llama")
        parts[torch.arange(6), torch.arange(6)] += layer.hidden
        torch.testing.assert_close(with_residual_and_norm(layer, place), parts.norm(dim=-1))


def test_residual_of_a_model_with_a_norm_before_the_residual() -> None:
    for layer, place in recorded_alone("gemma2"):
        parts = written(layer, "gemma2")
        norm = layer.module.get_submodule("post_attention_layernorm")
        divisor = (parts.sum(1).square().mean(-1) + norm.eps).sqrt()
        scaled = parts * (1 + norm.weight) / divisor[:, None, None]
        scaled[torch.arange(6), torch.arange(6)] += layer.hidden
        torch.testing.assert_close(with_residual_and_norm(layer, place), scaled.norm(dim=-1))


def test_heads_that_no_matrix_takes() -> None:
    explainer = Explainer(build(ARCHITECTURES["llama"]))  # its own, since it is changed
    for layer in explainer.prepared.record(example(ARCHITECTURES["llama"], 6)):
        place = Selection(torch.arange(6), torch.arange(6))
        layer.module.self_attn.o_proj = nn.Identity()
        with (
            prepared(layer.module, layer.implementation),
            pytest.raises(UnsupportedModel, match="no matrix takes the output of its heads side by side"),
        ):
            norm_based(layer, place)
