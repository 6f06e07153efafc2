"""Attention by plain capture: batches of points and targets, and what they give, against autograd."""

import pytest
import torch

from families import layer_of
from ligflow.method import from_names
from ligflow.method.baselines import Zero
from ligflow.paths.captured_attention import captured_attention


@pytest.mark.parametrize("baseline", ["itb", "mean"])
@pytest.mark.parametrize("name", ["gemma2", "llama"])
def test_captured_attention_is_autograd_through_the_models_own(name: str, baseline: str) -> None:
    """u at two points of two targets' paths, and `(x_k - x_k(0)) . dL/dx_k` of one scalar a head."""
    rows, nodes = torch.tensor([5, 2]), torch.tensor([0.25, 0.8], dtype=torch.float64)
    for _, layer, place in layer_of(name):
        start = from_names.layer_baseline(baseline).start(layer.hidden, place.visible)
        attention = captured_attention(layer, start, nodes, rows, moving=True)
        weights = attention.weights()
        u = attention.u(weights)
        to_u = torch.linspace(-1, 1, u.numel(), dtype=torch.float64).reshape(u.shape)
        integrands, own = attention.source_integrands(weights, to_u)
        for number in range(2):
            for row, target in enumerate(rows.tolist()):
                first = layer.hidden[target].expand(6, -1) if baseline == "itb" else start.vectors
                step = layer.hidden - first
                sources = (first + nodes[number] * step).requires_grad_()
                expected = layer.attend(sources[None])[0, target]
                torch.testing.assert_close(u[number, row], expected)
                for head, value in enumerate((expected * to_u[number, row]).sum(-1)):
                    (slope,) = torch.autograd.grad(value, sources, retain_graph=True)
                    ours = integrands[number, row, head].clone()
                    ours[target] += own[number, row, head]
                    torch.testing.assert_close(ours, (slope * step).sum(-1), rtol=1e-8, atol=1e-11)


def test_without_derivatives_nothing_but_the_steps_is_missing() -> None:
    for _, layer, place in layer_of("bert"):
        start = Zero().start(layer.hidden, place.visible)
        nodes, rows = torch.tensor([0.5], dtype=torch.float64), torch.tensor([0, 3])
        still, moving = (captured_attention(layer, start, nodes, rows, moving=one) for one in (False, True))
        assert (still.query_step, still.key_step, still.value_step) == (None, None, None)
        for part in ("query", "key", "value"):
            torch.testing.assert_close(getattr(still, part), getattr(moving, part))


def test_rows_become_batches_and_rows_again() -> None:
    for _, layer, place in layer_of("bert"):
        for baseline, batches in (("itb", 2 * 3), ("zero", 2)):
            start = from_names.layer_baseline(baseline).start(layer.hidden, place.visible)
            nodes, rows = torch.tensor([0.1, 0.9], dtype=torch.float64), torch.tensor([5, 0, 2])
            attention = captured_attention(layer, start, nodes, rows, moving=False)
            numbers = torch.arange(2 * 3 * 4 * 8, dtype=torch.float64).reshape(2, 3, 4, 8)
            by_batch = attention.batches(numbers)
            assert by_batch.shape == (batches, 4, 6 // batches, 8)
            assert torch.equal(attention.rows(by_batch), numbers)
            flat = by_batch.transpose(1, 2).reshape(2, 3, 4, 8)
            assert torch.equal(flat, numbers)
