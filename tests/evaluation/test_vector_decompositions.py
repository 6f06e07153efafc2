"""ALTI and GlobEnc against the matrices of the layer, written out."""

import torch
from torch import Tensor, nn

from ligflow.evaluation.norm_based_attention import with_residual_and_norm
from ligflow.evaluation.vector_decompositions import alti, globenc
from ligflow.layer.layer import Layer
from recorded_layers import recorded_alone, shares


def normed(norm: nn.LayerNorm, parts: Tensor, total: Tensor) -> Tensor:
    """A LayerNorm of each part, divided by the deviation of the real vector: `gain (y - mean y) / sd`."""
    deviation = (total.var(-1, unbiased=False) + norm.eps).sqrt()
    return norm.weight * (parts - parts.mean(-1, keepdim=True)) / deviation[:, None, None]


def of_bert(layer: Layer) -> tuple[Tensor, Tensor]:
    """What each source gives to the output of the attention block, and that output."""
    p, value = shares(layer)
    output = layer.module.get_submodule("attention.output")
    by_head = output.dense.weight.unflatten(1, (len(p), -1))
    parts = torch.einsum("hjk,hkd,ohd->jko", p, value, by_head)
    parts[torch.arange(6), torch.arange(6)] += layer.hidden
    total = parts.sum(1) + output.dense.bias
    return normed(output.LayerNorm, parts, total), output.LayerNorm(total)


def test_alti_by_the_matrices() -> None:
    for layer, place in recorded_alone("bert"):
        parts, output = of_bert(layer)
        near = torch.zeros(6, 6, dtype=torch.float64)
        for target in range(6):
            for source in range(6):
                left = output[target] - parts[target, source]
                near[target, source] = max(0.0, float(output[target].abs().sum() - left.abs().sum()))
        found = alti(layer, place)
        torch.testing.assert_close(found, near / near.sum(1, keepdim=True), rtol=1e-8, atol=1e-10)
        torch.testing.assert_close(found.sum(1), torch.ones(6, dtype=torch.float64))


def test_globenc_by_the_matrices() -> None:
    for layer, place in recorded_alone("bert"):
        parts, output = of_bert(layer)
        end = layer.module.get_submodule("output")
        total = output + end.dense(layer.module.get_submodule("intermediate")(output))
        expected = normed(end.LayerNorm, parts, total).norm(dim=-1)
        torch.testing.assert_close(end.LayerNorm(total), layer.output)
        torch.testing.assert_close(globenc(layer, place), expected, rtol=1e-7, atol=1e-9)


def test_alti_of_a_pre_norm_model_is_that_of_the_residual_stream() -> None:
    for layer, place in recorded_alone("llama"):
        p, value = shares(layer)
        weight = layer.module.self_attn.o_proj.weight.unflatten(1, (len(p), -1))
        parts = torch.einsum("hjk,hkd,ohd->jko", p, value, weight)
        parts[torch.arange(6), torch.arange(6)] += layer.hidden
        output = parts.sum(1)
        near = output.abs().sum(-1)[:, None] - (output[:, None] - parts).abs().sum(-1)
        near = near.clamp(min=0)
        torch.testing.assert_close(alti(layer, place), near / near.sum(1, keepdim=True))


def test_without_a_norm_at_the_end_globenc_is_that_of_the_block() -> None:
    for name in ("llama", "gemma2"):
        for layer, place in recorded_alone(name):
            torch.testing.assert_close(globenc(layer, place), with_residual_and_norm(layer, place))
