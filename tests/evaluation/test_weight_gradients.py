"""Attribution of attention weights against integrated gradients of the unmodified layer."""

import numpy as np
import pytest
import torch

from ligflow.evaluation.weight_gradients import attention_attribution
from ligflow.layer.layer import Layer
from recorded_layers import recorded_alone, shares


def by_weights(layer: Layer, target: int, points: int = 20) -> torch.Tensor:
    """`A_jk^h int dL/dA_jk^h (a A) da` by autograd of the weights themselves, one point at a time."""
    p, value = shares(layer)
    rows, hidden = p.detach(), layer.hidden[None]

    def image(weights: torch.Tensor) -> torch.Tensor:
        return layer.finish(hidden, (weights @ value).transpose(0, 1)[None])[0, target]

    with torch.no_grad():
        step = image(rows) - image(0 * rows)
    total, (nodes, weights) = torch.zeros_like(rows), np.polynomial.legendre.leggauss(points)
    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        grown = (float(node) * rows).requires_grad_()
        (image(grown) @ step / step.norm()).backward()
        assert grown.grad is not None
        total += float(weight) * grown.grad
    return (total * rows).sum(0)[target]


@pytest.mark.parametrize("name", ["bert", "llama", "gemma2", "gpt_oss"])
def test_each_weight_by_autograd(name: str) -> None:
    for layer, place in recorded_alone(name):
        found = attention_attribution(layer, place)
        for target in (0, 5):
            torch.testing.assert_close(found[target], by_weights(layer, target), rtol=1e-7, atol=1e-9)


def test_rows_sum_to_what_attention_moves() -> None:
    for layer, place in recorded_alone("bert"):
        p, value = shares(layer)
        u = (p @ value).transpose(0, 1)[None]
        moved = (layer.finish(layer.hidden[None], u) - layer.finish(layer.hidden[None], 0 * u))[0].norm(
            dim=-1
        )
        torch.testing.assert_close(attention_attribution(layer, place).sum(1), moved, rtol=1e-4, atol=1e-6)
