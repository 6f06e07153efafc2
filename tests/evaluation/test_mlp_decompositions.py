"""Vectors through the MLP against the matrices of the layer and integrals of its activation, written out."""

import pytest
import torch
from torch import Tensor, nn

from ligflow import UnsupportedModel
from ligflow.evaluation.mlp_decompositions import by_products, decompx, layer_vectors, norm_based_with_mlp
from ligflow.evaluation.other_methods import rivals
from ligflow.layer.layer import Layer
from recorded_layers import recorded_alone, shares

NODES = 500  # midpoints, of an integral that the code takes in another way


def normed(norm: nn.LayerNorm, parts: Tensor, total: Tensor) -> Tensor:
    deviation = (total.var(-1, unbiased=False) + norm.eps).sqrt()
    return norm.weight * (parts - parts.mean(-1, keepdim=True)) / deviation[:, None, None]


def shared(parts: Tensor, bias: Tensor | None) -> Tensor:
    """The rule of DecompX, by loops: each source gets as much of a bias as its vector points along it."""
    if bias is None:
        return parts
    out = parts.clone()
    for target in range(len(parts)):
        along = [abs(float(part @ bias)) for part in parts[target]]
        for source, size in enumerate(along):
            out[target, source] += size / sum(along) * bias
    return out


def integrated(activation: nn.Module, parts: Tensor) -> Tensor:
    """Integrated gradients of an activation of each neuron from 0, by autograd: `p_k int a'(t p) dt`."""
    total, mean = parts.sum(1), torch.zeros_like(parts[:, 0])
    for node in range(NODES):
        point = ((node + 0.5) / NODES * total).requires_grad_()
        mean += torch.autograd.grad(activation(point).sum(), point)[0] / NODES
    return parts * mean[:, None]


def of_bert(layer: Layer, biased: bool) -> Tensor:
    """The vectors of a layer of BERT, with biases shared out, or with none anywhere but in the activation."""
    p, value = shares(layer)
    attention, first, end = (
        layer.module.get_submodule(name) for name in ("attention.output", "intermediate", "output")
    )
    parts = torch.einsum("hjk,hkd,ohd->jko", p, value, attention.dense.weight.unflatten(1, (len(p), -1)))
    parts[torch.arange(6), torch.arange(6)] += layer.hidden
    stream = parts.sum(1) + attention.dense.bias
    parts = shared(parts, attention.dense.bias) if biased else parts
    parts = normed(attention.LayerNorm, parts, stream)
    parts = shared(parts, attention.LayerNorm.bias) if biased else parts
    inner = parts @ first.dense.weight.T
    if biased:
        inner = integrated(first.intermediate_act_fn, shared(inner, first.dense.bias))
    else:  # the rest of the neuron's input is a player of its own, whose part is left out
        real = attention.LayerNorm(stream) @ first.dense.weight.T + first.dense.bias
        rest = (real - inner.sum(1))[:, None]
        inner = integrated(first.intermediate_act_fn, torch.cat([inner, rest], dim=1))[:, :-1]
    written = inner @ end.dense.weight.T
    written = shared(written, end.dense.bias) if biased else written
    block = attention.LayerNorm(stream)
    parts = normed(end.LayerNorm, parts + written, block + end.dense(first(block)))
    return shared(parts, end.LayerNorm.bias) if biased else parts


def test_both_by_the_matrices_of_bert() -> None:
    for layer, place in recorded_alone("bert"):
        assert layer.module.get_submodule("output").dense.bias.abs().min() > 0
        for method, biased in ((decompx, True), (norm_based_with_mlp, False)):
            expected = of_bert(layer, biased).norm(dim=-1)
            torch.testing.assert_close(method(layer, place), expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", ["bert", "gpt2", "gemma2", "qwen2", "opt"])
def test_vectors_of_decompx_sum_to_the_output(name: str) -> None:
    for layer, place in recorded_alone(name):
        vectors = layer_vectors(layer, place, by_products)
        torch.testing.assert_close(vectors.sum(1), layer.output, rtol=1e-10, atol=1e-10)


def test_gated_mlp_by_integrated_gradients_of_both_factors() -> None:
    """The vectors of a layer of Llama: integrated gradients of `a(p) q` at the sources' `(p_k, q_k)`."""
    for layer, place in recorded_alone("llama"):
        p, value = shares(layer)
        mlp, norm = layer.module.mlp, layer.module.post_attention_layernorm
        parts = torch.einsum(
            "hjk,hkd,ohd->jko", p, value, layer.module.self_attn.o_proj.weight.unflatten(1, (len(p), -1))
        )
        parts[torch.arange(6), torch.arange(6)] += layer.hidden
        scale = (parts.sum(1).square().mean(-1) + norm.variance_epsilon).rsqrt()
        taken = norm.weight * parts * scale[:, None, None]
        gates, factors = taken @ mlp.gate_proj.weight.T, taken @ mlp.up_proj.weight.T
        gate, factor = gates.sum(1), factors.sum(1)
        inner = torch.zeros_like(gates)
        for node in range(NODES):
            t = (node + 0.5) / NODES
            points = [(t * gate).requires_grad_(), (t * factor).requires_grad_()]
            by_gate, by_factor = torch.autograd.grad((mlp.act_fn(points[0]) * points[1]).sum(), points)
            inner += (gates * by_gate[:, None] + factors * by_factor[:, None]) / NODES
        expected = parts + inner @ mlp.down_proj.weight.T
        torch.testing.assert_close(layer_vectors(layer, place), expected, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(expected.sum(1), layer.output, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(norm_based_with_mlp(layer, place), decompx(layer, place))


def test_a_layer_whose_mlp_cannot_be_followed_says_so_and_is_compared_without() -> None:
    for layer, place in recorded_alone("gpt_neox"):
        with pytest.raises(UnsupportedModel, match=r"GPTNeoXLayer.*Use a method of the attention block"):
            decompx(layer, place)
        assert "DecompX" not in rivals(layer, place)
