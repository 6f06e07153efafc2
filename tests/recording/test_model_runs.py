"""Runs in which calls are noted: outermost first, with their attentions, and the hooks gone afterwards."""

import pytest
import torch

from architectures import ARCHITECTURES, WHOLE_ONLY, build, example
from ligflow.layer.model_state import prepared
from ligflow.recording.call import flat
from ligflow.recording.model_runs import (
    OFF_INTERFACE,
    at_softmax,
    let_pass_unknown_name,
    run,
    run_in_eager,
    run_on_interface,
)

LLAMA = ARCHITECTURES["llama"]


def test_every_call_has_its_arguments_output_and_attention() -> None:
    model, inputs = build(LLAMA), example(LLAMA, 4)
    calls, refusal = run_on_interface(model, inputs)
    assert (refusal, [call.name for call in calls]) == ("", ["layers.0", "layers.1"])
    assert [len(call.attentions) for call in calls] == [1, 1]
    assert torch.equal(calls[1].args[0], calls[0].output)
    assert calls[0].attentions[0].query.shape == (1, 4, 4, 8)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_without_our_attention_none_is_noted() -> None:
    model = build(LLAMA)
    with prepared(model, "eager"):
        assert not any(call.attentions for call in flat(run(model, example(LLAMA, 4))))


@pytest.mark.parametrize("name", list(WHOLE_ONLY)[:1])
def test_attention_that_cannot_be_seen_is_refused(name: str) -> None:
    model, inputs = build(WHOLE_ONLY[name]), example(WHOLE_ONLY[name], 4)
    calls, refusal = run_in_eager(model, inputs, OFF_INTERFACE)
    assert refusal == OFF_INTERFACE
    assert not any(call.attentions for call in flat(calls))


def test_hooks_go_also_after_an_error() -> None:
    model = build(LLAMA)
    with pytest.raises(ValueError, match="input_ids"), prepared(model):
        run(model, {"unknown": torch.zeros(1)})
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_what_forward_mode_cannot_follow_is_none() -> None:
    def fail() -> int:
        raise NotImplementedError

    assert at_softmax(fail) is None
    assert at_softmax(lambda: 3) == 3
    let_pass_unknown_name(KeyError("ligflow"))
    with pytest.raises(KeyError, match="other"):
        let_pass_unknown_name(KeyError("other"))
