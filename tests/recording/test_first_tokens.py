"""Long texts whose layers are validated on their first tokens."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

import hand_made
from architectures import ARCHITECTURES, build, example
from ligflow.layer.findings import Findings
from ligflow.layer.layer import Layer
from ligflow.recording import first_tokens
from ligflow.recording.first_tokens import on_first_tokens
from ligflow.recording.record import record
from ligflow.recording.validation import validate

LONG = 24


@pytest.fixture(autouse=True)
def of_eight_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_tokens, "_COUNT", 8)


@contextmanager
def counted() -> Iterator[list[int]]:
    """How many tokens go through each replay of a layer."""
    tokens, call = list[int](), Layer._call

    def counting(layer: Layer, hidden: Tensor) -> Tensor:
        tokens.append(hidden.shape[1])
        return call(layer, hidden)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Layer, "_call", counting)
        yield tokens


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma2", "gpt_neox", "mistral"])
def test_a_decoder_has_the_findings_that_it_has_on_all_tokens(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build(ARCHITECTURES[name])
    layer = record(model, example(ARCHITECTURES[name], LONG))[-1]
    with counted() as tokens:
        ours = validate(model, layer)
    assert {8, LONG} <= {*tokens} <= {2, 7, 8, LONG}  # 2 and 7 of 8: whether it takes any number of tokens
    assert tokens.count(8) > 3 * tokens.count(LONG)
    assert ours.hidden is layer.hidden
    assert ours.output is layer.output
    monkeypatch.setattr(first_tokens, "_COUNT", LONG)
    theirs = validate(model, layer)
    assert ours.mode == "split"
    for field in fields(Findings):
        if field.name not in ("closed_form", "cost"):
            assert getattr(ours.findings, field.name) == getattr(theirs.findings, field.name)
    assert ours.findings.cost == pytest.approx(
        theirs.findings.cost, rel=0.02
    )  # a part is once for all tokens
    assert (ours.findings.closed_form is None) == (theirs.findings.closed_form is None)


@pytest.mark.parametrize("name", ["bert", "mixtral"])
def test_tokens_that_see_later_ones_and_experts_are_validated_on_all(name: str) -> None:
    model = build(ARCHITECTURES[name])
    layer = record(model, example(ARCHITECTURES[name], LONG))[-1]
    with counted() as tokens:
        validate(model, layer)
    assert tokens.count(LONG) > 20


class _Crowded(nn.Module):
    """A layer that has room for 40 tokens."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, hidden: Tensor, **kwargs: Any) -> Any:
        made = self.module(hidden, **kwargs)
        return made if hidden.shape[:2].numel() <= 40 else made + hidden / 10


def test_what_many_tokens_do_is_not_taken_from_the_first() -> None:
    model = build(ARCHITECTURES["llama"])
    model.layers[0].mlp = _Crowded(model.layers[0].mlp)
    layer = record(model, example(ARCHITECTURES["llama"], LONG))[0]
    first = on_first_tokens(model, layer)
    assert first is not None
    assert validate(model, first).mode == "split"
    assert not validate(model, first).findings.one_by_one
    assert validate(model, layer).findings.one_by_one


class _Rolled(nn.Module):
    """Keys of late tokens are no rotation of what they would be in front."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, hidden: Tensor) -> Tensor:
        made = self.module(hidden)
        return torch.cat([made[:, :10], made[:, 10:].roll(1, -1)], 1)


def test_what_positions_do_to_late_tokens_is_not_taken_from_the_first() -> None:
    model = build(ARCHITECTURES["llama"])
    attention = model.layers[0].self_attn
    attention.k_proj = _Rolled(attention.k_proj)
    layer = record(model, example(ARCHITECTURES["llama"], LONG))[0]
    first = on_first_tokens(model, layer)
    assert first is not None
    assert validate(model, first).findings.closed_form is not None
    assert "more than a rotation" in validate(model, layer).findings.no_closed_form


class _Choosing(hand_made.Attention):
    """A causal attention whose late targets see the keys whose first number is larger than theirs."""

    def forward(self, hidden: Tensor) -> Tensor:
        value, places = hidden[:, None], torch.arange(hidden.shape[1])
        larger = hidden[:, None, :, 0] >= hidden[:, :, None, 0]
        seen = (larger | (places < 10)[:, None]) & (places <= places[:, None])
        mask = torch.zeros(seen.shape).masked_fill(~seen, torch.finfo(hidden.dtype).min)[:, None]
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, hand_made.plain)
        return attend(self, 0 * value, 0 * value, value, mask, scaling=1.0, dropout=0.0)[0].flatten(-2)


def test_keys_that_late_tokens_choose_are_noticed() -> None:
    model = hand_made.build()
    model.layers[0].attention = _Choosing(model.config)
    ids = torch.randint(50, (1, LONG), generator=torch.Generator().manual_seed(0))
    (layer,) = record(model, {"input_ids": ids})
    assert on_first_tokens(model, layer) is not None
    found = validate(model, layer)
    assert (found.mode, found.findings.reason) == (
        "coupled",
        "its mask or position bias depends on the hidden states",
    )
