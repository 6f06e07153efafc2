"""Projections on a path and their derivatives, apart; a mask that moves is refused."""

import pytest
import torch
from torch.autograd import forward_ad

from ligflow.errors import UnsupportedModel
from ligflow.layer.captured_path import captured_path
from ligflow.layer.interface import Captured
from ligflow.method.attention import ScoreTerms

QUERY = torch.tensor([[[[1.0, 2.0]]]])


def test_values_and_tangents_are_told_apart() -> None:
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(QUERY, 3 * QUERY)
        path = captured_path(0, Captured(dual, 2 * dual, QUERY, ScoreTerms(0.5)))
    assert torch.equal(path.at.query, QUERY)
    assert torch.equal(path.query_step, 3 * QUERY)
    assert torch.equal(path.key_step, 6 * QUERY)
    assert torch.equal(path.value_step, 0 * QUERY)


@pytest.mark.parametrize(("name", "said"), [("bias", "mask or position bias"), ("sink", "attention sink")])
def test_a_form_that_moves_is_refused(name: str, said: str) -> None:
    own = torch.zeros(1, 1, 1, 1) if name == "bias" else torch.zeros(1)
    with forward_ad.dual_level():
        form = ScoreTerms(0.5, **{name: forward_ad.make_dual(own, own + 1)})
        captured = Captured(QUERY, QUERY, QUERY, form)
        with pytest.raises(UnsupportedModel, match=f"Layer 4: its {said} depends on the hidden states"):
            captured_path(4, captured)
