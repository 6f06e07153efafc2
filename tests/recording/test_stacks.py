"""Which calls are the stack of layers: those that attend, by whole parts of their names."""

import pytest
import torch
from torch import nn

from ligflow.errors import LigflowError, UnsupportedModel
from ligflow.layer.interface import Captured
from ligflow.layer.layer import Layer
from ligflow.method.attention import ScoreTerms
from ligflow.recording.call import Call
from ligflow.recording.stacks import (
    refuse_lonely_tokens,
    refuse_uneven,
    stack_of,
    stacks_of_calls,
    tokens_meet,
)

HIDDEN = torch.randn(1, 3, 4, generator=torch.Generator().manual_seed(0))
MODEL = nn.Module()


class Mean(nn.Module):
    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return hidden + hidden.mean(1, keepdim=True)


def call(name: str, attends: bool = True, inner: tuple[Call, ...] = ()) -> Call:
    query = torch.zeros(1, 1, 3, 4)
    attentions = [Captured(query, query, query, ScoreTerms(0.5))] * (max(1, len(inner)) if attends else 0)
    return Call(name, nn.Sequential(nn.Identity()), (HIDDEN,), {}, HIDDEN, attentions, list(inner))


def names(calls: list[Call]) -> list[str]:
    return [one.name for one in calls]


def test_stacks_are_named_by_their_members() -> None:
    calls = [
        call("encoder.layers.0"),
        call("encoder.layers.1"),
        call("decoder.layers.0"),
        call("necks.0", False),
    ]
    stacks = stacks_of_calls(MODEL, calls)
    assert {name: names(stack) for name, stack in stacks.items()} == {
        "encoder.layers.*": ["encoder.layers.0", "encoder.layers.1"],
        "decoder.layers.*": ["decoder.layers.0"],
    }
    assert names(stack_of(MODEL, calls, "decoder")) == ["decoder.layers.0"]
    assert names(stack_of(MODEL, calls[2:], None)) == ["decoder.layers.0"]


def test_one_of_several_is_asked_for_by_whole_parts_of_its_name() -> None:
    calls = [call("text.layers.0"), call("text.small.layers.0")]
    assert names(stack_of(MODEL, calls, "small")) == ["text.small.layers.0"]
    assert names(stack_of(MODEL, calls, "text.layers.*")) == ["text.layers.0"]
    with pytest.raises(LigflowError, match="Several stacks of Module match stack='text'"):
        stack_of(MODEL, calls, "text")
    with pytest.raises(LigflowError, match="No stack of Module match stack='tex'"):
        stack_of(MODEL, calls, "tex")
    with pytest.raises(UnsupportedModel, match="several stacks of layers"):
        stack_of(MODEL, calls, None)


def test_a_group_of_several_layers_is_opened() -> None:
    group = call("groups.0", inner=(call("groups.0.layers.0"), call("groups.0.layers.1")))
    assert names(stack_of(MODEL, [group], None)) == ["groups.0.layers.0", "groups.0.layers.1"]


def test_without_attention_the_longest_stack_of_modules_with_parts_is_it() -> None:
    calls = [call("a.0", False), call("b.0", False), call("b.1", False)]
    assert names(stack_of(MODEL, calls, None)) == ["b.0", "b.1"]
    with pytest.raises(UnsupportedModel, match="No layers were found"):
        stacks_of_calls(MODEL, [])


def layer(module: nn.Module, tokens: int = 3, index: int = 0) -> Layer:
    hidden = torch.randn(tokens, 4, generator=torch.Generator().manual_seed(1))
    return Layer(index, "layers.0", module, "hidden", {}, hidden, hidden)


def test_tokens_that_never_meet_are_no_stack() -> None:
    assert tokens_meet(layer(Mean()))
    alone = nn.Identity()
    alone.forward = lambda hidden: 2 * hidden  # type: ignore[method-assign, assignment]
    assert not tokens_meet(layer(alone))
    refuse_lonely_tokens(alone, [layer(alone), layer(Mean())])
    with pytest.raises(UnsupportedModel, match="no token depends on another"):
        refuse_lonely_tokens(alone, [layer(alone)])


def test_layers_of_one_flow_have_as_many_tokens() -> None:
    refuse_uneven([layer(Mean()), layer(Mean(), index=1)])
    with pytest.raises(UnsupportedModel, match=r"layer 0: 3, layer 1: 2.*layers=\[0\]"):
        refuse_uneven([layer(Mean()), layer(Mean(), 2, 1)])
