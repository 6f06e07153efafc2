"""A run of the model as it is: its outputs, and what is refused of them."""

from types import SimpleNamespace

import pytest
import torch

from asked_models import gpt2
from ligflow import LigflowError
from ligflow.prediction.own_run import finite, finite_logits, own_run

IDS = torch.tensor([[20, 30, 40]])


def test_the_head_is_read_at_some_positions() -> None:
    with torch.no_grad():
        wanted = gpt2().model(IDS).logits
    for positions in ((0,), (2, 0), None):
        logits = own_run(gpt2(), {"input_ids": IDS}, positions).outputs.logits
        torch.testing.assert_close(logits, wanted if positions is None else wanted[:, list(positions)])
    states = own_run(gpt2(), {"input_ids": IDS}, None, hidden_states=True).outputs.hidden_states
    assert len(states) == 3


def test_outputs_that_are_no_numbers_are_refused() -> None:
    for wrong in (torch.nan, torch.inf):
        with pytest.raises(LigflowError, match="numbers that are not finite"):
            finite(gpt2(), torch.tensor([0.0, wrong]))
    ruled_out = torch.tensor([0.0, -torch.inf])
    assert finite(gpt2(), ruled_out) is ruled_out
    with pytest.raises(LigflowError, match="gives no logits; ask about a function"):
        finite_logits(gpt2(), SimpleNamespace())


def test_a_run_that_fails_says_on_what() -> None:
    with pytest.raises(
        LigflowError, match=r"GPT2LMHeadModel could not run on these inputs \(input_ids\[1, 2\]\)"
    ):
        own_run(gpt2(), {"input_ids": torch.tensor([[0.5, 1.5]])}, None)
