"""Which calls of a run are the stack of layers."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from ligflow.errors import LigflowError, UnsupportedModel
from ligflow.layer.layer import Layer
from ligflow.layer.model_state import prepared
from ligflow.recording.call import Call, flat, hidden_of, keeps_shape
from ligflow.recording.replays import replaying
from ligflow.recording.tolerances import gap


def stack_of(model: nn.Module, calls: list[Call], wanted: str | None) -> list[Call]:
    """The calls that form the model's one stack of layers, or the one that is asked for."""
    by_name = stacks_of_calls(model, calls)
    chosen = {name: stack for name, stack in by_name.items() if wanted is None or _is_named(name, wanted)}
    if wanted in chosen:  # a whole name, which others may end with
        return chosen[wanted]
    if len(chosen) == 1:
        return next(iter(chosen.values()))
    names = ", ".join(by_name)
    if wanted is not None:
        count = "Several stacks" if chosen else "No stack"
        raise LigflowError(
            f"{count} of {type(model).__name__} match stack={wanted!r}; it has {names} on these inputs."
        )
    raise UnsupportedModel(
        f"{type(model).__name__} has several stacks of layers ({names}); explain one of them by a part of "
        f"its name: Explainer(model, stack={_short_name(by_name)!r})."
    )


def _is_named(name: str, wanted: str) -> bool:
    """Whether a stack's name, e.g. `model.decoder.layers.*`, holds what is asked for: whole parts of it."""
    return f".{wanted.removesuffix('.*')}." in f".{name}."


def _short_name(stacks: Mapping[str, Any]) -> str:
    """The first part of the first stack's name that no other stack has."""
    first, *others = stacks
    parts = first.removesuffix(".*").split(".")
    return next((part for part in parts if not any(_is_named(name, part) for name in others)), first)


def stacks_of_calls(model: nn.Module, calls: list[Call]) -> dict[str, list[Call]]:
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
    chosen = attending or dict(sorted(composite.items(), key=lambda item: -len(item[1]))[:1])
    if not chosen:
        raise UnsupportedModel(
            f"No layers were found in {type(model).__name__}: ligflow looks for members of a ModuleList "
            "whose input and output are hidden states of one shape, e.g. [1, tokens, size]."
        )
    return chosen


def _refuse_lost_attention(model: nn.Module, calls: list[Call]) -> None:
    """Attention that was seen must belong to the layers that are explained."""
    for call in flat(calls):
        if call.attentions:
            hidden = hidden_of(call)
            shape = None if hidden is None else tuple(hidden.shape)
            raise UnsupportedModel(
                f"{type(model).__name__} attends in {call.name} ({type(call.module).__name__}), whose input "
                f"of shape {shape} is not the hidden states of the tokens that attend, in one shape."
            )


def refuse_lonely_tokens(model: nn.Module, layers: list[Layer]) -> None:
    """A stack whose attention was not seen, or not on the interface, must at least let tokens meet."""
    with prepared(model, "eager"), torch.no_grad():
        if any(len(layer.hidden) == 1 or tokens_meet(layer) for layer in layers):
            return
    first = f"{layers[0].name} ({type(layers[0].module).__name__})"
    raise UnsupportedModel(
        f"In {type(model).__name__}, in the stack of {first}, no token depends on another: these are not its "
        "layers, or they take keys and values apart from their hidden states. If a submodel holds other "
        "layers, explain it: Explainer(model.<name>)."
    )


def tokens_meet(layer: Layer) -> bool:
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
    outermost = list(_outermost(calls))
    kinds = [type(call.module) for call in outermost]

    def unwrapped(call: Call) -> Call:
        inner = list(_outermost(call.inner))
        return inner[0] if len(inner) == 1 and type(inner[0].module) in kinds else call

    return [unwrapped(call) for call in outermost]


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
