"""One run of a model, in which its layers are found and recorded.

A layer is the outermost member of a ModuleList that keeps the shape of its hidden states and makes
one attention call. Nothing here knows a model family.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, NoReturn, TypeVar

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ligflow.errors import LigflowError, UnsupportedModel
from ligflow.layer.arguments import flat_tensors, snapshot
from ligflow.layer.interface import (
    IMPLEMENTATION,
    Captured,
    attention_action,
    literal,
    plain,
    seen_at_softmax,
)
from ligflow.layer.layer import Layer
from ligflow.layer.model_state import prepared
from ligflow.recording.as_loaded import WRONG, followed, not_run, uncached
from ligflow.recording.call import Call, by_name, flat, keeps_shape, layer_of, meet_in_attention, signature_of
from ligflow.recording.stacks import refuse_lonely_tokens, stack_of, stacks_of_calls, tokens_meet

T = TypeVar("T")


def record(model: PreTrainedModel, inputs: Mapping[str, Any], stack: str | None = None) -> list[Layer]:
    """Runs the model on one example and returns the layers of a stack in the order of their calls.

    `stack` is a part of the stack's name, e.g. `decoder`; a model with one stack needs none.

    A layer that cannot be split at its attention is `whole`, with the reason in its findings; z2z remains
    possible for it. Raises UnsupportedModel where no stack of layers is found at all, or one in
    which tokens never meet.
    """
    calls, refusal = _run_on_interface(model, inputs)
    if not refusal and not any(call.attentions for call in flat(calls)):
        refusal = OFF_INTERFACE
    if refusal:
        calls, refusal = _run_in_eager(model, inputs, refusal)
    found = stack_of(model, calls, stack)
    single = _is_single(inputs) or any(meet_in_attention(call) for call in found)
    of_call = partial(layer_of, refusal=refusal, single=single)
    layers = [of_call(index, call) for index, call in enumerate(found)]
    try:
        loaded = _as_loaded(model, inputs, calls, found)
    except WRONG as error:
        layers = not_run(model, layers, error)
    else:
        layers = followed(model, layers, found, loaded, of_call)
    if refusal or any(layer.forms for layer in layers):
        refuse_lonely_tokens(model, layers)
    return layers


def _as_loaded(
    model: PreTrainedModel, inputs: Mapping[str, Any], calls: list[Call], found: list[Call]
) -> list[Call]:
    """The calls that were found, in a run of the model with the attention that it was loaded with."""
    with prepared(model, None):
        loaded, every = list(flat(_run(model, inputs))), list(flat(calls))
    own = dict(zip(_places(loaded), loaded, strict=True))
    places = dict(zip(map(id, every), _places(every), strict=True))
    return [own[places[id(call)]] for call in found]


def _places(calls: list[Call]) -> list[tuple[str, int]]:
    """Every call by the name of what is called, and how often that was called before."""
    counts: Counter[str] = Counter()
    places = []
    for call in calls:
        places.append((call.name, counts[call.name]))
        counts[call.name] += 1
    return places


def _is_single(inputs: Mapping[str, Any]) -> bool:
    """Whether all inputs are of one example, whatever the model makes of it."""
    return all(len(one) == 1 for one in flat_tensors(dict(inputs)) if one.ndim > 0)


OFF_INTERFACE = (
    "its attention neither goes through the attention interface of transformers nor is a softmax of products "
    "that can be seen, so it cannot be split into z2u and u2z"
)


def record_call(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], index: int) -> Layer:
    """The layer of one call, as some program makes it with its own attention implementation.

    Raises LigflowError where the module does not run on these arguments, UnsupportedModel where it is not
    a layer.
    """
    call = Call("the layer", module, args, kwargs)
    with _running(call):
        first, call.kwargs = by_name(call)
        call.args = (call.kwargs.pop(first),)
        with prepared(module, None):
            call.output = _once(call)
        refusal = _note_attention(call)
    if call.attentions and "attention_mask" in signature_of(module).parameters:
        call.kwargs["attention_mask"] = literal(call.kwargs.get("attention_mask"), call.attentions[0])
        if call.at_softmax:  # with the mask that counts
            _note_at_softmax(call)
    if not keeps_shape(call):
        _refuse_other_module(module, "its input and output are not hidden states of one shape")
    layer = layer_of(index, call, refusal)
    with prepared(module, "eager"), torch.no_grad():
        if not call.attentions and len(layer.hidden) > 1 and not tokens_meet(layer):
            _refuse_other_module(module, "no token depends on another")
    return layer


def _note_attention(call: Call) -> str:
    """Notes the attentions in a call; why it has none that can be split, '' if it has."""
    try:
        with prepared(call.module), attention_action(_noting([call])):
            _once(call)
    except UnsupportedModel as error:
        return str(error)
    except KeyError as error:
        _refuse_other_key(error)
    if not call.attentions:
        _note_at_softmax(call)
    return "" if call.attentions else OFF_INTERFACE


def _note_at_softmax(call: Call) -> None:
    call.attentions.clear()
    with prepared(call.module, "eager"), attention_action(_noting([call])):
        call.at_softmax = _runs_at_softmax(lambda: _once(call)) is not None
    if not call.at_softmax:  # what was seen before the error is not all
        call.attentions.clear()
    parts = (part for part in call.module.modules() if hasattr(part, "config"))
    attending = next((part for part in parts if hasattr(part, "is_causal")), call.module)
    call.attentions[:] = [replace(one, module=attending) for one in call.attentions]


def _refuse_other_key(error: KeyError) -> None:
    """Lets pass that a model looks implementations up in a table of its own."""
    if error.args != (IMPLEMENTATION,):
        raise error


def _runs_at_softmax(run: Callable[[], T]) -> T | None:
    """A run in which attentions are seen at their softmax; None where forward-mode AD cannot follow."""
    try:
        with seen_at_softmax():
            return run()
    except (RuntimeError, ValueError, NotImplementedError):
        return None


def _once(call: Call) -> Any:
    with torch.no_grad():
        return call.module(*call.args, **snapshot(call.kwargs))


@contextmanager
def _running(call: Call) -> Iterator[None]:
    """Errors of the module's own code name it and what it was given."""
    try:
        yield
    except LigflowError:
        raise
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError, KeyError) as error:
        kind, given = type(call.module).__name__, ", ".join(["hidden_states", *call.kwargs])
        raise LigflowError(
            f"{kind} could not run on these arguments ({given}): {error}. Pass it all that the model passes, "
            "as a forward_pre_hook with with_kwargs=True gets it."
        ) from error


def _refuse_other_module(module: nn.Module, reason: str) -> NoReturn:
    raise UnsupportedModel(
        f"{type(module).__name__} is not a layer: {reason}. Pass a member of the model's stack of layers."
    )


def _run_on_interface(model: PreTrainedModel, inputs: Mapping[str, Any]) -> tuple[list[Call], str]:
    """A run with our attention function, or why there is none."""
    try:
        with prepared(model):
            return _run(model, inputs), ""
    except UnsupportedModel as error:
        return [], str(error)
    except KeyError as error:
        _refuse_other_key(error)
        return [], OFF_INTERFACE


def _run_in_eager(model: PreTrainedModel, inputs: Mapping[str, Any], refusal: str) -> tuple[list[Call], str]:
    """A run with the model's own attention, which is seen at its softmax where it is off the interface."""
    with prepared(model, "eager"):
        if refusal == OFF_INTERFACE:
            calls = _runs_at_softmax(lambda: _run(model, inputs)) or []
            for call in flat(calls):
                call.at_softmax = True
            if any(call.attentions for call in flat(calls)):
                return calls, ""
        return _run(model, inputs), refusal


def _run(model: PreTrainedModel, inputs: Mapping[str, Any]) -> list[Call]:
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
        with torch.no_grad(), attention_action(_noting(stack)):
            model(**inputs, **uncached(model))
    finally:
        for handle in handles:
            handle.remove()
    return top


def _noting(calls: list[Call]) -> Callable[[Captured], Tensor]:
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


def stacks(model: PreTrainedModel, inputs: Mapping[str, Any]) -> list[str]:
    """The names of the stacks of layers that the model has on these inputs, e.g. `encoder.layers.*`."""
    calls, refusal = _run_on_interface(model, inputs)
    if not refusal and not any(call.attentions for call in flat(calls)):
        refusal = OFF_INTERFACE
    if refusal:
        calls, _ = _run_in_eager(model, inputs, refusal)
    return list(stacks_of_calls(model, calls))
