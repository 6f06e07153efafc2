"""Runs of a whole model in which the calls of its stacks' members, and their attentions, are noted."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ligflow.errors import UnsupportedModel
from ligflow.layer.arguments import snapshot
from ligflow.layer.interface import (
    IMPLEMENTATION,
    Captured,
    attention_action,
    current_action,
    plain,
    seen_at_softmax,
)
from ligflow.layer.model_state import prepared
from ligflow.recording.call import Call, flat
from ligflow.recording.unmodified_run import uncached

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class NotedRun:
    """A run of a model: its calls of members of ModuleLists, its outputs, and why it is not as sought."""

    calls: list[Call]
    outputs: Any = None
    refusal: str = ""


OFF_INTERFACE = (
    "its attention neither goes through the attention interface of transformers nor is a softmax of products "
    "that can be seen, so it cannot be split into z2u and u2z"
)


def let_pass_unknown_name(error: KeyError) -> None:
    """Lets pass that a model looks implementations up in a table of its own."""
    if error.args != (IMPLEMENTATION,):
        raise error


def at_softmax(run: Callable[[], T]) -> T | None:
    """A run in which attentions are seen at their softmax; None where forward-mode AD cannot follow."""
    try:
        with seen_at_softmax():
            return run()
    except (RuntimeError, ValueError, NotImplementedError):
        return None


def recording_run(model: PreTrainedModel, inputs: Mapping[str, Any]) -> NotedRun:
    """A run with our attention function; with the model's own, and why, where it does not take ours."""
    noted = run_on_interface(model, inputs)
    refusal = noted.refusal
    if not refusal and not any(call.attentions for call in flat(noted.calls)):
        refusal = OFF_INTERFACE
    return run_in_eager(model, inputs, refusal) if refusal else noted


def run_on_interface(model: PreTrainedModel, inputs: Mapping[str, Any]) -> NotedRun:
    """A run with our attention function, or why there is none."""
    try:
        with prepared(model):
            return run(model, inputs)
    except UnsupportedModel as error:
        return NotedRun([], refusal=str(error))
    except KeyError as error:
        let_pass_unknown_name(error)
        return NotedRun([], refusal=OFF_INTERFACE)


def run_in_eager(model: PreTrainedModel, inputs: Mapping[str, Any], refusal: str) -> NotedRun:
    """A run with the model's own attention, which is seen at its softmax where it is off the interface."""
    with prepared(model, "eager"):
        if refusal == OFF_INTERFACE:
            noted = at_softmax(lambda: run(model, inputs)) or NotedRun([])
            for call in flat(noted.calls):
                call.at_softmax = True
            if any(call.attentions for call in flat(noted.calls)):
                return noted
        return replace(run(model, inputs), refusal=refusal)


def run(model: PreTrainedModel, inputs: Mapping[str, Any]) -> NotedRun:
    """A run with all calls of ModuleList members, outermost first, and the attention calls inside them."""
    with noting_calls(model) as calls, torch.no_grad():
        outputs = model(**inputs, **uncached(model))
    return NotedRun(calls, outputs)


@contextmanager
def noting_calls(model: PreTrainedModel) -> Iterator[list[Call]]:
    """The calls of ModuleList members that are made meanwhile, outermost first."""
    top: list[Call] = []
    stack: list[Call] = []

    def enter(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            call = Call(name, module, snapshot(args), snapshot(kwargs))
            (stack[-1].inner if stack else top).append(call)
            stack.append(call)

        return hook

    def leave(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        call = stack.pop()
        call.output, call.after = output, (snapshot(args), snapshot(kwargs))

    handles = []
    try:
        for name, module in _members(model):
            handles.append(module.register_forward_pre_hook(enter(name), prepend=True, with_kwargs=True))
            handles.append(module.register_forward_hook(leave, with_kwargs=True))
        with attention_action(noting(stack)):
            yield top
    finally:
        for handle in handles:
            handle.remove()


def noting(calls: list[Call]) -> Callable[[Captured], Tensor]:
    """Attention as it is, or as it was to be before, noted in the calls that it is made in."""
    action = current_action.get() or plain

    def note(captured: Captured) -> Tensor:
        for call in calls:
            call.attentions.append(captured)
        return action(captured)

    return note


def _members(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for name, module in model.named_modules():
        if isinstance(module, nn.ModuleList):
            yield from ((f"{name}.{key}", child) for key, child in module.named_children())
