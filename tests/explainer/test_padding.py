"""Padding that takes part in what a layer makes of other tokens: what it holds is counted, and said."""

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import BertModel, NystromformerConfig, NystromformerModel

from architectures import ARCHITECTURES, build, example
from ligflow import Explainer, Flow, LigflowError
from ligflow.results.tracing import trace

TOKENS, PADDING = 12, 4
IDS = torch.arange(3, 3 + TOKENS)[None]
MASK = (torch.arange(TOKENS) < TOKENS - PADDING).long()[None]
POINTS, WEIGHTS = np.polynomial.legendre.leggauss(24)


def nystromformer() -> NystromformerModel:
    """Its attention is masked, and a convolution over the values beside it is not."""
    torch.manual_seed(0)
    config = NystromformerConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24, vocab_size=64,
        max_position_embeddings=40, segment_means_seq_len=8, num_landmarks=8,
    )  # fmt: skip
    model = NystromformerModel(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model.double()


def by_hand(model: NystromformerModel, number: int) -> tuple[Tensor, Tensor]:
    """Integrated gradients of all sources from zero, and totals, through the model's own layer."""
    seen: list[tuple[Tensor, Tensor]] = []
    layer = model.encoder.layer[number]
    hook = layer.register_forward_pre_hook(lambda _, args: seen.append((args[0], args[1])))
    with torch.no_grad():
        model(input_ids=IDS, attention_mask=MASK)
    hook.remove()
    (z, mask) = seen[0]

    def image(states: Tensor) -> Tensor:
        return layer(states, mask)[0][0]

    start, count = image(torch.zeros_like(z)).detach(), TOKENS - PADDING
    rows = torch.zeros(count, TOKENS, dtype=torch.float64)
    for point, weight in zip((POINTS + 1) / 2, WEIGHTS / 2, strict=True):
        states = (float(point) * z).requires_grad_(True)
        sizes = (image(states) - start)[:count].norm(dim=-1)
        for target in range(count):
            (gradient,) = torch.autograd.grad(sizes[target], states, retain_graph=True)
            rows[target] += float(weight) * (gradient * z)[0].sum(-1)
    return rows.detach(), (image(z) - start)[:count].norm(dim=-1).detach()


@pytest.fixture(scope="module")
def flow() -> Flow:
    inputs = {"input_ids": IDS, "attention_mask": MASK}
    return Explainer(nystromformer()).explain(inputs, routes="z2z", layer_baseline="zero", tol=1e-6)


def test_what_padding_holds_is_counted_and_rows_with_it_sum_to_their_totals(flow: Flow) -> None:
    for number in (0, 1):
        rows, totals = by_hand(nystromformer(), number)
        shown, hidden = rows[:, : TOKENS - PADDING], rows[:, TOKENS - PADDING :].sum(-1)
        assert float((hidden / totals).abs().max()) > 0.01
        torch.testing.assert_close(flow.z2z[number], shown, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(flow.hidden("z2z")[number], hidden, rtol=1e-4, atol=1e-5)
    whole = flow.z2z.sum(-1) + flow.hidden("z2z")
    torch.testing.assert_close(whole, flow.total("z2z"), rtol=1e-5, atol=0)
    assert float(flow.certificate("z2z").abs().max()) < 1e-6
    assert flow.unmet == []


def test_it_is_said_and_is_not_followed_across_layers(flow: Flow) -> None:
    most = float((flow.hidden("z2z") / flow.total("z2z")).abs().max())
    (note,) = [note for note in flow.meta["notes"] if "padding" in note]
    assert f"with up to {most:.0%} of a row" in note
    with pytest.raises(LigflowError, match="Padding takes part in the z2z maps"):
        trace(flow, 3, which="z2z")


def test_padding_behind_a_mask_holds_nothing() -> None:
    bert: BertModel = build(ARCHITECTURES["bert"])
    padded = Explainer(bert).explain(example(ARCHITECTURES["bert"], 5, 3))
    assert not [name for name in padded.tensors if name.endswith(".hidden")]
    assert not [note for note in padded.meta["notes"] if "padding" in note]
