"""One run of a model, in which its layers are found and recorded.

A layer is the outermost member of a ModuleList that keeps the shape of its hidden states and makes
one attention call. Nothing here knows a model family.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, NoReturn, TypeVar

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ligflow.agreement import gap
from ligflow.as_loaded import WRONG, followed, not_run, uncached
from ligflow.calls import Call, by_name, hidden_of, keeps_shape, layer_of, meet_in_attention, signature_of
from ligflow.errors import LigflowError, UnsupportedModel
from ligflow.replay import (
    IMPLEMENTATION,
    Captured,
    Layer,
    acting,
    borrowed,
    flat_tensors,
    literal,
    plain,
    seen_at_softmax,
    snapshot,
)
from ligflow.validation import replaying

T = TypeVar("T")


def record(model: PreTrainedModel, inputs: Mapping[str, Any], stack: str | None = None) -> list[Layer]:
    """Runs the model on one example and returns the layers of a stack in the order of their calls.

    `stack` is a part of the stack's name, e.g. `decoder`; a model with one stack needs none.

    A layer that cannot be split at its attention carries the reason in `refusal`; z2z remains
    possible for it. Raises UnsupportedModel where no stack of layers is found at all, or one in
    which tokens never meet.
    """
    calls, refusal = _run_on_interface(model, inputs)
    if not refusal and not any(call.attentions for call in _flat(calls)):
        refusal = OFF_INTERFACE
    if refusal:
        calls, refusal = _run_in_eager(model, inputs, refusal)
    found = _stack(model, calls, stack)
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
        _refuse_lonely_tokens(model, layers)
    return layers


def _as_loaded(
    model: PreTrainedModel, inputs: Mapping[str, Any], calls: list[Call], found: list[Call]
) -> list[Call]:
    """The calls that were found, in a run of the model with the attention that it was loaded with."""
    with borrowed(model, None):
        loaded, every = list(_flat(_run(model, inputs))), list(_flat(calls))
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
        with borrowed(module, None):
            call.output = _once(call)
        refusal = _note_attention(call)
    if call.attentions and "attention_mask" in signature_of(module).parameters:
        call.kwargs["attention_mask"] = literal(call.kwargs.get("attention_mask"), call.attentions[0])
        if call.at_softmax:  # with the mask that counts
            _note_at_softmax(call)
    if not keeps_shape(call):
        _refuse_other_module(module, "its input and output are not hidden states of one shape")
    layer = layer_of(index, call, refusal)
    with borrowed(module, "eager"), torch.no_grad():
        if not call.attentions and len(layer.hidden) > 1 and not _tokens_meet(layer):
            _refuse_other_module(module, "no token depends on another")
    return layer


def _note_attention(call: Call) -> str:
    """Notes the attentions in a call; why it has none that can be split, '' if it has."""
    try:
        with borrowed(call.module), acting(_noting([call])):
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
    with borrowed(call.module, "eager"), acting(_noting([call])):
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
        with borrowed(model):
            return _run(model, inputs), ""
    except UnsupportedModel as error:
        return [], str(error)
    except KeyError as error:
        _refuse_other_key(error)
        return [], OFF_INTERFACE


def _run_in_eager(model: PreTrainedModel, inputs: Mapping[str, Any], refusal: str) -> tuple[list[Call], str]:
    """A run with the model's own attention, which is seen at its softmax where it is off the interface."""
    with borrowed(model, "eager"):
        if refusal == OFF_INTERFACE:
            calls = _runs_at_softmax(lambda: _run(model, inputs)) or []
            for call in _flat(calls):
                call.at_softmax = True
            if any(call.attentions for call in _flat(calls)):
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
        with torch.no_grad(), acting(_noting(stack)):
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


def _flat(calls: list[Call]) -> Iterator[Call]:
    for call in calls:
        yield call
        yield from _flat(call.inner)


def _stack(model: nn.Module, calls: list[Call], asked: str | None) -> list[Call]:
    """The calls that form the model's one stack of layers, or the one that is asked for."""
    found = _stacks(model, calls)
    chosen = {name: stack for name, stack in found.items() if asked is None or _is_named(name, asked)}
    if asked in chosen:  # a whole name, which others may end with
        return chosen[asked]
    if len(chosen) == 1:
        return next(iter(chosen.values()))
    names = ", ".join(found)
    if asked is not None:
        count = "Several stacks" if chosen else "No stack"
        raise LigflowError(
            f"{count} of {type(model).__name__} match stack={asked!r}; it has {names} on these inputs."
        )
    raise UnsupportedModel(
        f"{type(model).__name__} has several stacks of layers ({names}); explain one of them by a part of "
        f"its name: Explainer(model, stack={_short_name(found)!r})."
    )


def _is_named(name: str, asked: str) -> bool:
    """Whether a stack's name, e.g. `model.decoder.layers.*`, holds what is asked for: whole parts of it."""
    return f".{asked.removesuffix('.*')}." in f".{name}."


def _short_name(stacks: Mapping[str, Any]) -> str:
    """The first part of the first stack's name that no other stack has."""
    first, *others = stacks
    parts = first.removesuffix(".*").split(".")
    return next((part for part in parts if not any(_is_named(name, part) for name in others)), first)


def _stacks(model: nn.Module, calls: list[Call]) -> dict[str, list[Call]]:
    """The model's stacks of layers by name: those that attend, or the longest where none is seen to."""
    stacks: dict[str, list[Call]] = {}
    for call in _layer_calls(calls):
        stacks.setdefault(re.sub(r"\d+", "*", call.name), []).append(call)
    attending = {name: stack for name, stack in stacks.items() if any(call.attentions for call in stack)}
    if not attending:
        _refuse_lost_attention(model, calls)
    composite = {
        name: stack for name, stack in stacks.items() if any(True for _ in stack[0].module.children())
    }
    found = attending or dict(sorted(composite.items(), key=lambda item: -len(item[1]))[:1])
    if not found:
        raise UnsupportedModel(
            f"No layers were found in {type(model).__name__}: ligflow looks for members of a ModuleList "
            "whose input and output are hidden states of one shape, e.g. [1, tokens, size]."
        )
    return found


def stacks(model: PreTrainedModel, inputs: Mapping[str, Any]) -> list[str]:
    """The names of the stacks of layers that the model has on these inputs, e.g. `encoder.layers.*`."""
    calls, refusal = _run_on_interface(model, inputs)
    if not refusal and not any(call.attentions for call in _flat(calls)):
        refusal = OFF_INTERFACE
    if refusal:
        calls, _ = _run_in_eager(model, inputs, refusal)
    return list(_stacks(model, calls))


def _refuse_lost_attention(model: nn.Module, calls: list[Call]) -> None:
    """Attention that was seen must belong to the layers that are explained."""
    for call in _flat(calls):
        if call.attentions:
            hidden = hidden_of(call)
            shape = None if hidden is None else tuple(hidden.shape)
            raise UnsupportedModel(
                f"{type(model).__name__} attends in {call.name} ({type(call.module).__name__}), whose input "
                f"of shape {shape} is not the hidden states of the tokens that attend, in one shape."
            )


def _refuse_lonely_tokens(model: nn.Module, layers: list[Layer]) -> None:
    """A stack whose attention was not seen, or not on the interface, must at least let tokens meet."""
    with borrowed(model, "eager"), torch.no_grad():
        if any(len(layer.hidden) == 1 or _tokens_meet(layer) for layer in layers):
            return
    first = f"{layers[0].name} ({type(layers[0].module).__name__})"
    raise UnsupportedModel(
        f"In {type(model).__name__}, in the stack of {first}, no token depends on another: these are not its "
        "layers, or they take keys and values apart from their hidden states. If a submodel holds other "
        "layers, explain it: Explainer(model.<name>)."
    )


def _tokens_meet(layer: Layer) -> bool:
    """Whether any token's output changes as all the others do."""
    with replaying(layer):
        before = layer.forward(layer.hidden[None])[0]
        for token in range(len(layer.hidden)):
            changed = -layer.hidden
            changed[token] = layer.hidden[token]
            moved = gap(layer.forward(changed[None])[0, token], before[token])
            if not moved <= 100 * torch.finfo(before.dtype).eps:  # NaN is named later
                return True
    return False


def _layer_calls(calls: list[Call]) -> list[Call]:
    """The calls of layers, not of groups of them; a group of one holds a layer of the class of others."""
    found = list(_outermost(calls))
    kinds = [type(call.module) for call in found]

    def unwrapped(call: Call) -> Call:
        inner = list(_outermost(call.inner))
        return inner[0] if len(inner) == 1 and type(inner[0].module) in kinds else call

    return [unwrapped(call) for call in found]


def _outermost(calls: list[Call]) -> Iterator[Call]:
    for call in calls:
        inner = list(_outermost(call.inner))
        if _is_group(call, inner) or not keeps_shape(call):
            yield from inner
        else:
            yield call


def _is_group(call: Call, inner: list[Call]) -> bool:
    """Several layers in one (ALBERT's groups), as opposed to a layer with self- and cross-attention."""
    classes = {type(part.module) for part in inner}
    covered = sum(len(part.attentions) for part in inner)
    return len(inner) == covered == len(call.attentions) > 1 and len(classes) == 1


def refuse_uneven(layers: list[Layer]) -> None:
    """Layers of one flow share their tokens."""
    counts = [len(layer.hidden) for layer in layers]
    if len(set(counts)) > 1:
        alike = [layer.index for layer, count in zip(layers, counts, strict=True) if count == counts[0]]
        said = ", ".join(f"layer {layer.index}: {count}" for layer, count in zip(layers, counts, strict=True))
        raise UnsupportedModel(
            f"The layers have different numbers of tokens ({said}); explain those of one number at a time: "
            f"layers={alike}."
        )
