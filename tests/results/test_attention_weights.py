"""Attention weights as a flow: the same numbers, of which nothing is said that weights do not tell."""

import io
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from ligflow import Flow, LigflowError, from_attentions
from ligflow.results.attention_weights import NOTE
from ligflow.view.html import fragment
from ligflow.view.terminal import report

TOKENS = ["The", " cat", " sat", " down"]


def weights(layers: int = 2, heads: int = 3, **more: Any) -> list[torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    scores = torch.randn(layers, 1, heads, 4, 4, generator=draw, **more)
    causal = torch.ones(4, 4, dtype=torch.bool).tril()
    return [*scores.masked_fill(~causal, -torch.inf).softmax(-1)]


def test_maps_are_the_weights_and_a_file_keeps_them(tmp_path: Path) -> None:
    attentions = weights()
    flow = from_attentions(attentions, TOKENS, special=[True, False, False, False])
    assert isinstance(flow, Flow)
    torch.testing.assert_close(flow.z2u, torch.cat(attentions))
    torch.testing.assert_close(flow.total("z2u"), torch.ones(2, 3, 4))
    assert (flow.tokens, flow.special) == (TOKENS, (True, False, False, False))
    loaded = Flow.load(flow.save(tmp_path / "weights.safetensors"))
    torch.testing.assert_close(loaded.z2u, flow.z2u)
    assert loaded.meta["measure"] == "attention"
    torch.testing.assert_close(loaded.to_bertviz()["attention"], attentions)


def test_half_precision_and_layers_without_a_batch_will_do() -> None:
    attentions = [layer[0] for layer in weights(dtype=torch.float64)]
    assert from_attentions(attentions, TOKENS).z2u.dtype == torch.float32


def test_screens_say_that_weights_are_no_contributions() -> None:
    flow = from_attentions(weights(), TOKENS)
    shown = io.StringIO()
    report(flow, Console(file=shown, width=200))
    for text in (shown.getvalue(), fragment(flow)):
        assert "attention weights, not contributions: nothing is certified of them" in text
        assert NOTE in text
        assert "the attention of" in text
        assert "moved" not in text
        assert "✓" not in text


@pytest.mark.parametrize(
    ("attentions", "tokens", "said"),
    [
        (weights(), TOKENS[:3], r"\[1, heads, 3, 3\] for 3 tokens, and these have the shapes"),
        ([torch.cat([layer, layer]) for layer in weights()], TOKENS, "take one example of a batch"),
        ([*weights(), *weights(heads=2)], TOKENS, "these have the shapes"),
        ([], TOKENS, "one tensor a layer"),
        ([-layer for layer in weights()], TOKENS, "less, more or no numbers"),
        ([layer / 0 for layer in weights()], TOKENS, "less, more or no numbers"),
        ([0 * layer + torch.nan for layer in weights()], TOKENS, "less, more or no numbers"),
        ([5 * layer for layer in weights()], TOKENS, "Scores before the softmax"),
        (weights(), [], "There are 0 tokens"),
    ],
)
def test_what_does_not_fit_is_refused(attentions: Any, tokens: list[str], said: str) -> None:
    with pytest.raises(LigflowError, match=said):
        from_attentions(attentions, tokens)


def test_as_many_marks_as_tokens_are_asked() -> None:
    with pytest.raises(LigflowError, match="4 tokens and 1 marks"):
        from_attentions(weights(), TOKENS, special=[True])
