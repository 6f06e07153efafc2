"""Runs of a whole model in which the calls of its stacks' members, and their attentions, are noted."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ligflow.errors import UnsupportedModel
from ligflow.layer.arguments import snapshot
from ligflow.layer.interface import IMPLEMENTATION, Captured, attention_action, plain, seen_at_softmax
from ligflow.layer.model_state import prepared
from ligflow.recording.call import Call, flat
from ligflow.recording.unmodified_run import uncached

T = TypeVar("T")


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


def run_on_interface(model: PreTrainedModel, inputs: Mapping[str, Any]) -> tuple[list[Call], str]:
    """A run with our attention function, or why there is none."""
    try:
        with prepared(model):
            return run(model, inputs), ""
    except UnsupportedModel as error:
        return [], str(error)
    except KeyError as error:
        let_pass_unknown_name(error)
        return [], OFF_INTERFACE


def run_in_eager(model: PreTrainedModel, inputs: Mapping[str, Any], refusal: str) -> tuple[list[Call], str]:
    """A run with the model's own attention, which is seen at its softmax where it is off the interface."""
    with prepared(model, "eager"):
        if refusal == OFF_INTERFACE:
            calls = at_softmax(lambda: run(model, inputs)) or []
            for call in flat(calls):
                call.at_softmax = True
            if any(call.attentions for call in flat(calls)):
                return calls, ""
        return run(model, inputs), refusal


def run(model: PreTrainedModel, inputs: Mapping[str, Any]) -> list[Call]:
    """All calls of ModuleList members, outermost first, with the attention calls inside them."""
    top: list[Call] = []
    stack: list[Call] = []

    def enter(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            call = Call(name, module, snapshot(args), snapshot(kwargs))
            (stack[-1].inner if stack else top).append(call)
            stack.append(call)

        return hook

    def leave(_module: nn.Module, _args: tuple[Any, ...], output: Any) -> None:
        stack.pop().output = output

    handles = []
    try:
        for name, module in _members(model):
            handles.append(module.register_forward_pre_hook(enter(name), prepend=True, with_kwargs=True))
            handles.append(module.register_forward_hook(leave))
        with torch.no_grad(), attention_action(noting(stack)):
            model(**inputs, **uncached(model))
    finally:
        for handle in handles:
            handle.remove()
    return top


def noting(calls: list[Call]) -> Callable[[Captured], Tensor]:
    """Attention as it is, noted in the calls that it is made in."""

    def note(captured: Captured) -> Tensor:
        for call in calls:
            call.attentions.append(captured)
        return plain(captured)

    return note


def _members(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for name, module in model.named_modules():
        if isinstance(module, nn.ModuleList):
            yield from ((f"{name}.{key}", child) for key, child in module.named_children())
