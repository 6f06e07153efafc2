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
    noting_calls,
    run,
    run_in_eager,
    run_on_interface,
)

LLAMA = ARCHITECTURES["llama"]


def test_every_call_has_its_arguments_output_and_attention() -> None:
    model, inputs = build(LLAMA), example(LLAMA, 4)
    noted = run_on_interface(model, inputs)
    calls, refusal = noted.calls, noted.refusal
    assert (refusal, [call.name for call in calls]) == ("", ["layers.0", "layers.1"])
    assert [len(call.attentions) for call in calls] == [1, 1]
    assert torch.equal(calls[1].args[0], calls[0].output)
    assert calls[0].attentions[0].query.shape == (1, 4, 4, 8)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_without_our_attention_none_is_noted() -> None:
    model = build(LLAMA)
    with prepared(model, "eager"):
        assert not any(call.attentions for call in flat(run(model, example(LLAMA, 4)).calls))


@pytest.mark.parametrize("name", list(WHOLE_ONLY)[:1])
def test_attention_that_cannot_be_seen_is_refused(name: str) -> None:
    model, inputs = build(WHOLE_ONLY[name]), example(WHOLE_ONLY[name], 4)
    noted = run_in_eager(model, inputs, OFF_INTERFACE)
    calls, refusal = noted.calls, noted.refusal
    assert refusal == OFF_INTERFACE
    assert not any(call.attentions for call in flat(calls))


class Writing(torch.nn.Module):
    """A layer that puts something into its arguments."""

    def forward(self, hidden: torch.Tensor, shared: dict[str, torch.Tensor]) -> torch.Tensor:
        shared["keys"] = hidden
        return hidden + 1


class Holder(torch.nn.Module):
    """A model of two such layers."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.ModuleList([Writing(), Writing()])

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        shared: dict[str, torch.Tensor] = {}
        for layer in self.layers:
            hidden = layer(hidden, shared)
        return hidden


def test_calls_have_their_arguments_before_and_after() -> None:
    holder = Holder()
    with noting_calls(holder) as calls:  # type: ignore[arg-type]
        holder(torch.zeros(1))
    first, second = calls
    assert first.args[1] == {}
    assert first.after is not None
    assert first.after[0][1]["keys"] is first.args[0]
    assert second.args[1]["keys"] is first.args[0]
    assert second.after is not None
    assert second.after[0][1]["keys"] is first.output


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
