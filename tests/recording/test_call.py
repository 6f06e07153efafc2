"""A recorded call: where its hidden states are, its arguments by name, its attention's mode by the shapes."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ligflow.errors import LigflowError, UnsupportedModel
from ligflow.layer.interface import Captured
from ligflow.method.attention import ScoreTerms
from ligflow.recording.call import (
    Call,
    by_name,
    flat,
    hidden_of,
    keeps_shape,
    layer_of,
    signature_of,
    takes_encoded,
)

HIDDEN = torch.randn(1, 3, 4, generator=torch.Generator().manual_seed(0))


class Plain(nn.Module):
    def forward(self, hidden: Tensor, mask: Any = None, past_key_values: Any = None, **rest: Any) -> Tensor:
        return hidden


class Starred(nn.Module):
    def forward(self, *args: Tensor) -> Tensor:
        return args[0]


def attention(queries: int = 3, keys: int = 3, heads: int = 2) -> Captured:
    query, key = torch.zeros(1, heads, queries, 2), torch.zeros(1, heads, keys, 2)
    return Captured(query, key, key, ScoreTerms(0.5))


def call(*args: Any, attentions: tuple[Captured, ...] = (), **kwargs: Any) -> Call:
    return Call("layers.0", Plain(), args, kwargs, HIDDEN, list(attentions))


def test_hidden_states_are_found_by_place_or_by_keyword() -> None:
    assert hidden_of(call(HIDDEN)) is hidden_of(call(hidden=HIDDEN, mask=None)) is HIDDEN
    assert hidden_of(call()) is hidden_of(call([HIDDEN])) is None
    for given in (call(HIDDEN), call(hidden=HIDDEN)):
        layer = layer_of(0, given, "")
        assert (layer.first, layer.positional) == ("hidden", ("hidden",) if given.args else ())
        assert torch.equal(layer.hidden, HIDDEN[0])


def test_arguments_have_names_and_no_cache() -> None:
    first, arguments = by_name(call(HIDDEN, "mask", past_key_values="cache", scale=2, use_cache=True))
    assert first == "hidden"
    assert arguments.pop("hidden") is HIDDEN
    assert arguments == {"mask": "mask", "past_key_values": None, "scale": 2, "use_cache": False}
    with pytest.raises(UnsupportedModel, match="unnamed positional arguments"):
        by_name(Call("layers.0", Starred(), (HIDDEN, HIDDEN), {}))


def test_the_signature_of_a_wrapper_may_show_its_self() -> None:
    module = Plain()
    module.forward = lambda *args, **kwargs: None  # type: ignore[method-assign]
    module.forward.__wrapped__ = Plain.forward  # type: ignore[attr-defined]
    assert [*signature_of(module).parameters] == [*signature_of(Plain()).parameters]


def test_only_hidden_states_of_one_shape_are_kept() -> None:
    assert keeps_shape(call(HIDDEN))
    assert not keeps_shape(call(HIDDEN[:, :2]))
    assert not keeps_shape(call(HIDDEN.long()))
    assert not keeps_shape(call())


@pytest.mark.parametrize(
    ("attentions", "mode", "reason"),
    [
        ([attention()], "split", ""),
        ([], "whole", "Plain makes no attention call"),
        (
            [attention(queries=2)],
            "whole",
            "the attention of Plain sees (1, 2, 2, 2) queries and (1, 2, 3, 2) keys",
        ),
        ([attention(keys=5)], "coupled", "it sees 5 keys for 3 tokens"),
        (
            [attention(), attention(heads=1)],
            "coupled",
            "it is 2 attention calls, which may follow one another",
        ),
        ([attention(), attention(keys=5)], "whole", "Plain calls attention 2 times"),
    ],
)
def test_the_shapes_of_its_attention_tell_its_mode(
    attentions: list[Captured], mode: str, reason: str
) -> None:
    layer = layer_of(0, call(HIDDEN, attentions=tuple(attentions)), "")
    assert layer.mode == mode
    assert layer.findings.reason.startswith(reason)
    assert layer.calls == ((2, 1) if "2 attention calls" in reason else ())
    refused = layer_of(0, call(HIDDEN, attentions=tuple(attentions)), "it is off the interface")
    assert (refused.mode, refused.findings.reason) == ("whole", "it is off the interface")


def test_a_second_attention_to_the_states_of_an_encoder_is_its_memory() -> None:
    states = torch.zeros(1, 5, 4)
    given = call(HIDDEN, attentions=(attention(), attention(keys=5, heads=4)), encoder_hidden_states=states)
    layer = layer_of(0, given, "")
    assert takes_encoded(layer.arguments)
    assert (layer.mode, layer.findings.memory, layer.findings.cross_heads) == (
        "split",
        "encoder_hidden_states",
        4,
    )


def test_a_batch_is_refused() -> None:
    both = Call("layers.0", Plain(), (HIDDEN.expand(2, -1, -1),), {}, HIDDEN.expand(2, -1, -1), [attention()])
    with pytest.raises(LigflowError, match="one example at a time, and the layers see 2"):
        layer_of(0, both, "")


def test_calls_stand_before_those_inside_them() -> None:
    names = [Call(name, Plain(), (), {}) for name in "abc"]
    names[0].inner = [names[1]]
    assert [one.name for one in flat([names[0], names[2]])] == ["a", "b", "c"]
