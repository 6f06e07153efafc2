"""Heads, MLPs and residuals of layers, beside the cotangents and states that they are made of."""

import torch

from ligflow.prediction.nodes import nodes_of
from prediction.tiny import chained, gpt2, ids, llama


def test_heads_and_residual_add_up_and_an_mlp_is_what_it_adds() -> None:
    """Before the MLP `m_u . Δu + m_z . Δz = m_x . Δx`, token by token; behind it `m . Δ(out - x)`."""
    for model in (llama(), gpt2()):
        built, result = chained(model, ids())
        nodes = nodes_of(built.graph, built.calls, result, 0)
        change = float(built.scores[0] - built.scores[1])
        variables = built.graph.variables
        at = {name: m[0] for images in result.at_images for name, m in images.items()}
        for layer in range(2):
            u, x, out = (variables[f"{name}{layer}"] for name in ("u", "x", "out"))
            assert nodes.heads[layer].shape == (4, 5)
            torch.testing.assert_close(nodes.heads[layer], (at[f"u{layer}"] * u.step).sum(-1).T)
            both = nodes.heads[layer].sum(0) + nodes.residual[layer]
            torch.testing.assert_close(both, (at[f"x{layer}"] * x.step).sum(-1), atol=1e-9, rtol=1e-7)
            assert abs(float(both.sum()) - change) < 1e-6 * max(1.0, abs(change))
            added = out.step - x.step
            torch.testing.assert_close(nodes.mlps[layer], (at[f"out{layer}"] * added).sum(-1))
        assert not nodes.cross_heads
        assert not nodes.routing
