"""The attention function that is registered with transformers: its form, its refusals, its stand-ins."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import AttentionInterface

from ligflow.errors import LigflowError, UnsupportedModel
from ligflow.layer.interface import Captured, attention_action, batched, literal, plain, substitute
from ligflow.method.attention import ScoreTerms

QUERY, KEY, VALUE = (
    torch.randn(1, heads, 3, 4, generator=torch.Generator().manual_seed(heads)) for heads in (2, 1, 1)
)
OWN = AttentionInterface()["ligflow"]


def attend(mask: Tensor | None = None, module: nn.Module | None = None, **arguments: Any) -> Tensor:
    return OWN((module or nn.Identity()).eval(), QUERY, KEY, VALUE, mask, **arguments)[0]


def by_hand(mask: Tensor, scale: float = 0.5) -> Tensor:
    scores = scale * torch.einsum("nhid,ngjd->nhij", QUERY, KEY.expand(-1, 2, -1, -1)[:, :1]) + mask
    return (scores.softmax(-1) @ VALUE).transpose(1, 2)


def test_it_is_attention_by_its_definition() -> None:
    mask = torch.zeros(1, 1, 3, 3)
    mask[..., 2] = torch.finfo(torch.float32).min
    torch.testing.assert_close(attend(), by_hand(torch.zeros(3, 3)))
    torch.testing.assert_close(attend(mask, scaling=0.25), by_hand(mask, 0.25))
    causal = torch.full((3, 3), torch.finfo(torch.float32).min).triu(1)
    torch.testing.assert_close(attend(is_causal=True, sliding_window=7), by_hand(causal))


def test_targets_of_a_long_text_go_through_in_blocks(monkeypatch) -> None:
    mask = torch.randn(1, 2, 3, 3, generator=torch.Generator().manual_seed(5))
    expected = by_hand(mask)
    monkeypatch.setattr("ligflow.method.attention._BLOCK", 2 * 4 * 4 * 2 * 3)  # two of three targets
    torch.testing.assert_close(attend(mask), expected)
    monkeypatch.setattr("ligflow.method.attention._BLOCK", 1)  # one at the least
    torch.testing.assert_close(attend(mask[:, :, :1]), by_hand(mask[:, :, :1]))


def test_an_argument_that_is_not_understood_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedModel, match="'temperature', which ligflow does not understand"):
        attend(temperature=2.0)
    with pytest.raises(UnsupportedModel, match="1 of 3 keys, chosen"):
        attend(indices=torch.zeros(1, 3, 1, dtype=torch.long))
    with pytest.raises(UnsupportedModel, match="call model"):
        OWN(nn.Identity().train(), QUERY, KEY, VALUE, None, dropout=0.1)


def test_an_action_takes_the_place_of_attention_and_ends() -> None:
    parts = [torch.full((1, 2, 3, 4), 7.0)]
    with attention_action(substitute(parts, plain)):
        assert attend().unique().tolist() == [7]
        torch.testing.assert_close(attend(), by_hand(torch.zeros(3, 3)))  # the second attention is as it is
    torch.testing.assert_close(attend(), by_hand(torch.zeros(3, 3)))


def test_calls_of_single_examples_are_one_of_all() -> None:
    one = Captured(QUERY, KEY, VALUE, ScoreTerms(0.5))
    both = batched([one, Captured(2 * QUERY, KEY, VALUE, ScoreTerms(0.5))])
    assert torch.equal(both.query, torch.cat([QUERY, 2 * QUERY]))
    assert batched([one]) is one


def test_a_causal_layer_without_its_mask_is_refused_where_it_would_look_ahead() -> None:
    module = nn.Identity()
    module.is_causal = True
    captured = Captured(QUERY, KEY, VALUE, ScoreTerms(0.5), module)
    with pytest.raises(LigflowError, match="pass the attention_mask"):
        literal(None, captured)
    mask = torch.zeros(1, 1, 3, 3)
    masked = Captured(QUERY, KEY, VALUE, ScoreTerms(0.5, mask), module)
    assert literal(mask, masked) is mask
