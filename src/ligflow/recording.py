"""One run of a model, from which its layers are found, recorded and validated.

A layer is the outermost member of a ModuleList that keeps the shape of its hidden states and makes
one attention call. Nothing here knows a model family.
"""

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ligflow.errors import LigflowError, UnsupportedModel
from ligflow.layout import Layout, layout_of
from ligflow.replay import (
    CACHE_NAMES,
    IMPLEMENTATION,
    Captured,
    Layer,
    acting,
    borrowed,
    first_tensor,
    literal,
    plain,
    snapshot,
)
from ligflow.shortcuts import PARTS, projections_of, recognise
from ligflow.windows import Windows, order_by_bits, windows_of


@dataclass(eq=False)
class _Call:
    """One call of a member of a ModuleList, with the attention calls made inside it."""

    name: str
    module: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    output: Any = None
    attentions: list[Captured] = field(default_factory=list)
    inner: "list[_Call]" = field(default_factory=list)


def record(model: PreTrainedModel, inputs: Mapping[str, Any], stack: str | None = None) -> list[Layer]:
    """Runs the model on one example and returns the layers of a stack in the order of their calls.

    `stack` is a part of the stack's name, e.g. `decoder`; a model with one stack needs none.

    A layer that cannot be split at its attention carries the reason in `refusal`; z2z remains
    possible for it. Raises UnsupportedModel where no stack of layers is found at all, or one in
    which tokens never meet.
    """
    calls, refusal = _run_on_interface(model, inputs)
    if refusal or not any(call.attentions for call in _flat(calls)):
        refusal = refusal or OFF_INTERFACE
        with borrowed(model, "eager"):
            calls = _run(model, inputs)
    layers = [_layer(index, call, refusal) for index, call in enumerate(_stack(model, calls, stack))]
    if refusal:
        _refuse_lonely_tokens(model, layers)
    return layers


_ENCODER_STATES = "encoder_hidden_states"
OFF_INTERFACE = (
    "its attention does not go through the attention interface of transformers, so it cannot be "
    "split into z2u and u2z"
)


def record_call(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], index: int) -> Layer:
    """The layer of one call, as some program makes it with its own attention implementation.

    Raises LigflowError where the module does not run on these arguments, UnsupportedModel where it is not
    a layer.
    """
    call = _Call("the layer", module, args, kwargs)
    refusal = ""
    with _running(call):
        first, call.kwargs = _by_name(call)
        call.args = (call.kwargs.pop(first),)
        with borrowed(module, None):
            call.output = _once(call)
        try:
            with borrowed(module), acting(_noting([call])):
                _once(call)
        except UnsupportedModel as error:
            refusal = str(error)
    if call.attentions and "attention_mask" in _signature(module).parameters:
        call.kwargs["attention_mask"] = literal(call.kwargs.get("attention_mask"), call.attentions[0])
    if not _keeps_shape(call):
        _refuse_other_module(module, "its input and output are not hidden states of one shape")
    layer = _layer(index, call, refusal or ("" if call.attentions else OFF_INTERFACE))
    with borrowed(module, "eager"), torch.no_grad():
        if not call.attentions and len(layer.hidden) > 1 and not _tokens_meet(layer):
            _refuse_other_module(module, "no token depends on another")
    return layer


def _once(call: _Call) -> Any:
    with torch.no_grad():
        return call.module(*call.args, **snapshot(call.kwargs))


@contextmanager
def _running(call: _Call) -> Iterator[None]:
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


def _run_on_interface(model: PreTrainedModel, inputs: Mapping[str, Any]) -> tuple[list[_Call], str]:
    """A run with our attention function, or why there is none."""
    try:
        with borrowed(model):
            return _run(model, inputs), ""
    except UnsupportedModel as error:
        return [], str(error)
    except KeyError as error:
        if error.args != (IMPLEMENTATION,):
            raise
        return [], OFF_INTERFACE  # it looks implementations up in a table of its own


def _run(model: PreTrainedModel, inputs: Mapping[str, Any]) -> list[_Call]:
    """All calls of ModuleList members, outermost first, with the attention calls inside them."""
    top: list[_Call] = []
    stack: list[_Call] = []

    def enter(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            call = _Call(name, module, snapshot(args), snapshot(kwargs))
            (stack[-1].inner if stack else top).append(call)
            stack.append(call)

        return hook

    def leave(_module: nn.Module, _args: tuple[Any, ...], output: Any) -> None:
        stack.pop().output = output

    handles = []
    try:
        for name, module in _members(model):
            handles.append(module.register_forward_pre_hook(enter(name), with_kwargs=True))
            handles.append(module.register_forward_hook(leave))
        with torch.no_grad(), acting(_noting(stack)):
            model(**inputs, **_uncached(model))
    finally:
        for handle in handles:
            handle.remove()
    return top


def _noting(calls: list[_Call]) -> Callable[[Captured], Tensor]:
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


def _uncached(model: nn.Module) -> dict[str, Any]:
    return {"use_cache": False} if "use_cache" in inspect.signature(model.forward).parameters else {}


def _flat(calls: list[_Call]) -> Iterator[_Call]:
    for call in calls:
        yield call
        yield from _flat(call.inner)


def _stack(model: nn.Module, calls: list[_Call], asked: str | None) -> list[_Call]:
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


def _stacks(model: nn.Module, calls: list[_Call]) -> dict[str, list[_Call]]:
    """The model's stacks of layers by name: those that attend, or the longest where none is seen to."""
    stacks: dict[str, list[_Call]] = {}
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
    if refusal:
        with borrowed(model, "eager"):
            calls = _run(model, inputs)
    return list(_stacks(model, calls))


def _refuse_lost_attention(model: nn.Module, calls: list[_Call]) -> None:
    """Attention that was seen must belong to the layers that are explained."""
    for call in _flat(calls):
        if call.attentions:
            hidden = _hidden(call)
            shape = None if hidden is None else tuple(hidden.shape)
            raise UnsupportedModel(
                f"{type(model).__name__} attends in {call.name} ({type(call.module).__name__}), whose input "
                f"of shape {shape} is not the hidden states of the tokens that attend, in one shape."
            )


def _refuse_lonely_tokens(model: nn.Module, layers: list[Layer]) -> None:
    """A stack that was found without attention must at least let tokens meet."""
    with borrowed(model, "eager"), torch.no_grad():
        if any(len(layer.hidden) == 1 or _tokens_meet(layer) for layer in layers):
            return
    longest = f"{layers[0].name} ({type(layers[0].module).__name__})"
    raise UnsupportedModel(
        f"No attention was seen in {type(model).__name__}, and in its longest stack, that of {longest}, no "
        "token depends on another: these are not its layers, or they take keys and values apart from their "
        "hidden states. If a submodel holds other layers, explain it: Explainer(model.<name>)."
    )


def _tokens_meet(layer: Layer) -> bool:
    """Whether any token's output changes as all the others do."""
    with _replaying(layer):
        before = layer.forward(layer.hidden[None])[0]
        for token in range(len(layer.hidden)):
            changed = -layer.hidden
            changed[token] = layer.hidden[token]
            gap = _gap(layer.forward(changed[None])[0, token], before[token])
            if not gap <= 100 * torch.finfo(before.dtype).eps:  # NaN is named later
                return True
    return False


def _layer_calls(calls: list[_Call]) -> Iterator[_Call]:
    for call in calls:
        inner = list(_layer_calls(call.inner))
        if _is_group(call, inner) or not _keeps_shape(call):
            yield from inner
        else:
            yield call


def _is_group(call: _Call, inner: list[_Call]) -> bool:
    """Several layers in one (ALBERT's groups), as opposed to a layer with self- and cross-attention."""
    classes = {type(part.module) for part in inner}
    covered = sum(len(part.attentions) for part in inner)
    return len(inner) == covered == len(call.attentions) > 1 and len(classes) == 1


def _keeps_shape(call: _Call) -> bool:
    hidden = _hidden(call)
    output = call.output if isinstance(call.output, Tensor) else next(iter(call.output or ()), None)
    if hidden is None or not isinstance(output, Tensor) or output.shape != hidden.shape:
        return False
    return hidden.is_floating_point() and (hidden.ndim == 3 or _layout(call, hidden) is not None)


def _layout(call: _Call, hidden: Tensor) -> Layout | None:
    """How the call's hidden states are laid out, judged by the queries of its attention."""
    seen = [(len(one.query), one.query.shape[2]) for one in call.attentions]
    if hidden.ndim == 3:  # whose windows would look like examples
        seen = [(examples, tokens) for examples, tokens in seen if examples == 1]
    counts = [windows * tokens for windows, tokens in seen]
    return layout_of(tuple(hidden.shape), {*counts[:1], sum(counts)} if call.attentions else ())


def _hidden(call: _Call) -> Tensor | None:
    first = call.args[0] if call.args else next(iter(call.kwargs.values()), None)
    return first if isinstance(first, Tensor) else None


def _layer(index: int, call: _Call, refusal: str) -> Layer:
    """The call with its arguments by name, without caches."""
    first, arguments = _by_name(call)
    own = arguments.pop(first)
    layout = _layout(call, own) or _refuse_batch(len(own))
    hidden, output = layout.rows(own), layout.rows(first_tensor(call.output))
    memory = _memory(call, hidden, arguments)
    windows = None if memory else _windows(call, hidden)
    calls = () if memory or windows else _calls_of_all(call, hidden)
    in_parts = bool(memory or windows or calls)
    refusal = refusal or _why_not(call, hidden, in_parts)
    layer = Layer(
        index, call.name, call.module, first, arguments, hidden[0], output[0], refusal,
        entangled="" if refusal else _entangled(call, hidden, in_parts, calls), calls=calls,
        layout=layout, one_by_one=layout.examples is None, windows=windows, memory=memory,
        cross_heads=call.attentions[1].query.shape[1] if memory else 0,
    )  # fmt: skip
    return layer.on(output.device)  # of a model on several devices, where its weights are


def _windows(call: _Call, hidden: Tensor) -> Windows | None:
    """The parts of the tokens that attention calls are about, if they are about parts."""
    queries, keys = (
        [(len(part), part.shape[2]) for part in parts]
        for parts in ([one.query for one in call.attentions], [one.key for one in call.attentions])
    )
    same = {(one.form.scaling, one.form.softcap, one.form.sink is None) for one in call.attentions}
    return windows_of(queries, keys, hidden.shape[1]) if len(same) == 1 else None


def _memory(call: _Call, hidden: Tensor, arguments: Mapping[str, Any]) -> str:
    """The argument that a second attention, after one among the tokens, takes its keys and values from."""
    given = arguments.get(_ENCODER_STATES)
    if len(call.attentions) != 2 or not isinstance(given, Tensor) or given.ndim != 3 or len(given) != 1:
        return ""
    own, cross = ((one.query.shape[2], one.key.shape[2]) for one in call.attentions)
    tokens = hidden.shape[1]
    return _ENCODER_STATES if (own, cross) == ((tokens, tokens), (tokens, given.shape[1])) else ""


def _by_name(call: _Call) -> tuple[str, dict[str, Any]]:
    """The name of the layer's input, and all arguments by name, without caches."""
    signature = _signature(call.module)
    arguments = dict(signature.bind(*call.args, **call.kwargs).arguments)
    kinds = {parameter.kind: name for name, parameter in signature.parameters.items()}
    arguments |= arguments.pop(kinds.get(inspect.Parameter.VAR_KEYWORD, ""), {})
    extra = arguments.pop(kinds.get(inspect.Parameter.VAR_POSITIONAL, ""), ())
    if extra:
        raise UnsupportedModel(
            f"{call.name} ({type(call.module).__name__}) takes unnamed positional arguments, so it cannot be "
            "replayed: a wrapper around the layer? Pass the model as transformers loads it."
        )
    arguments.update({name: None for name in CACHE_NAMES if name in arguments})
    arguments.update({"use_cache": False} if "use_cache" in arguments else {})
    return next(iter(signature.parameters)), arguments


def _signature(module: nn.Module) -> inspect.Signature:
    """What `forward` takes; a wrapper in its place may show the signature of the function, with `self`."""
    signature = inspect.signature(module.forward)
    parameters = list(signature.parameters.values())
    own = parameters[1:] if parameters and parameters[0].name == "self" else parameters
    return signature.replace(parameters=own)


def _refuse_batch(examples: int) -> NoReturn:
    raise LigflowError(f"explain takes one example at a time; these inputs hold {examples}.")


def refuse_uneven(layers: list[Layer]) -> None:
    """Layers of one flow share their tokens."""
    counts = [len(layer.hidden) for layer in layers]
    if len(set(counts)) > 1:
        said = ", ".join(f"layer {layer.index}: {count}" for layer, count in zip(layers, counts, strict=True))
        raise UnsupportedModel(
            f"The layers have different numbers of tokens ({said}); explain those of one number at a time: "
            f"layers=[{layers[0].index}]."
        )


def _why_not(call: _Call, hidden: Tensor, in_parts: bool) -> str:
    """The reason why a layer cannot be split at its attention, '' if it can."""
    tokens, kind = hidden.shape[1], type(call.module).__name__
    if not call.attentions:
        return f"{kind} makes no call through the attention interface of transformers"
    if in_parts:
        return ""
    if len(call.attentions) > 1:
        return f"{kind} calls attention {len(call.attentions)} times"
    seen = call.attentions[0]
    if (len(seen.query), seen.query.shape[2]) != (1, tokens):
        return (
            f"the attention of {kind} sees {tuple(seen.query.shape)} queries and {tuple(seen.key.shape)} "
            f"keys, not the {tokens} tokens of the layer"
        )
    return ""


def _calls_of_all(call: _Call, hidden: Tensor) -> tuple[int, ...]:
    """The heads of each attention call, where several see all tokens and give values of one size."""
    seen, tokens = call.attentions, hidden.shape[1]
    alike = all(
        (len(one.query), one.query.shape[2], one.key.shape[2], one.value.shape[-1])
        == (1, tokens, tokens, seen[0].value.shape[-1])
        for one in seen
    )
    return tuple(one.query.shape[1] for one in seen) if len(seen) > 1 and alike else ()


def _entangled(call: _Call, hidden: Tensor, in_parts: bool, calls: tuple[int, ...]) -> str:
    """Why the attention is no map of one query, key and value for each token."""
    if calls:
        return f"it is {len(calls)} attention calls, which may follow one another"
    tokens, keys = hidden.shape[1], call.attentions[0].key.shape[2]
    if in_parts or keys == tokens:
        return ""
    return f"it sees {keys} keys for {tokens} tokens (keys that are made of something else are held)"


# --- validation -----------------------------------------------------------------------------------


def validate(model: nn.Module, layer: Layer) -> Layer:
    """The layer, with a `refusal` if it is not what the method relies on.

    Checked: the split layer reproduces the model's own (eager) attention; replays in a batch; a
    token's projections, and what follows attention, depend on no other token; mask and position
    bias do not move with the hidden states. Raises LigflowError where the model itself gives NaN.
    """
    with _replaying(layer):
        return _validate(model, layer)


@contextmanager
def _replaying(layer: Layer) -> Iterator[None]:
    """Errors of the model's own code name the layer."""
    try:
        yield
    except LigflowError:
        raise
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError) as error:
        raise UnsupportedModel(f"Layer {layer.index} ({layer.name}) cannot be replayed: {error}") from error


def _validate(model: nn.Module, layer: Layer) -> Layer:
    with borrowed(model, layer.implementation), torch.no_grad():
        _refuse_other_output(layer, layer.forward(layer.hidden[None])[0])
    with borrowed(model, "eager"), torch.no_grad():
        own = layer.forward(layer.hidden[None])[0]
        layer = replace(layer, one_by_one=layer.one_by_one or not _batches(layer, own))
    if layer.refusal:
        return layer
    if layer.one_by_one and layer.memory:
        reason = "it takes one example at a time, and it attends to an encoder"
        return replace(layer, refusal=reason, memory="", cross_heads=0)
    with borrowed(model), torch.no_grad():
        layer = _in_order(layer) if layer.windows else layer
        refusal = layer.refusal or _differs(layer, own) or _leaks_after(layer)
        if refusal:
            return replace(layer, refusal=refusal)
        entangled = layer.entangled or _leaks_before(layer) or _no_path(layer)
        if entangled and (layer.memory or layer.windows):
            return replace(layer, refusal=entangled, memory="", cross_heads=0)
        return _equipped(replace(layer, entangled=entangled))


def _in_order(layer: Layer) -> Layer:
    """The layer with the order in which tokens stand in its windows, found by changing some at a time."""
    assert layer.windows
    before, places = layer.capture(layer.hidden[None]).query, torch.arange(len(layer.hidden))
    changed = []
    for bit in range(max(1, (len(places) - 1).bit_length())):
        some = (places >> bit & 1).bool().to(layer.hidden.device)
        after = layer.capture(torch.where(some[:, None], -layer.hidden.flip(-1), layer.hidden)[None]).query
        moved, size = (after - before).norm(dim=(1, 3))[0], before.norm(dim=(1, 3))[0]
        changed.append(moved > _tolerance(before) * size)
    order = order_by_bits(changed)
    if order is None:
        return replace(layer, refusal="the windows of its attention do not hold each token once")
    return replace(layer, windows=layer.windows.in_order(order))


def _refuse_other_output(layer: Layer, again: Tensor) -> None:
    """A replay must give what the layer gave in the model."""
    kind = f"Layer {layer.index} ({layer.name}, {type(layer.module).__name__})"
    if not torch.isfinite(again).all():
        raise LigflowError(
            f"{kind} gives NaN or infinite values on this input; check the weights, or load the model in a "
            "wider dtype."
        )
    gap = _gap(again, layer.output)
    if not gap <= _tolerance(again):
        raise UnsupportedModel(
            f"{kind}, replayed alone, differs by {gap:.1e} from what it gave in the model: it depends on "
            "more than its arguments."
        )


def _batches(layer: Layer, own: Tensor) -> bool:
    """Whether a batch of two gives each example its own output."""
    try:
        both = layer.forward(torch.stack([layer.hidden, layer.hidden.flip(0)]))
    except (RuntimeError, ValueError, IndexError):
        return False
    return both.shape[0] == 2 and _gap(both[0], own) <= _tolerance(own)


def _differs(layer: Layer, own: Tensor) -> str:
    pair = layer.hidden.expand(2, -1, -1)
    split = layer.finish(pair, layer.attend(pair))
    for name, other in (("eager", own), ("recorded", layer.output)):
        gap = max(_gap(one, other) for one in split)
        if not gap <= _tolerance(own):
            return f"split at its attention it differs from the model's own ({name}) output by {gap:.1e}"
    return ""


def _leaks_after(layer: Layer) -> str:
    """Changes what attention gives to one token and looks at what the layer makes of the others."""
    pair = _changed(layer)
    if not layer.entangled and len(layer.capture(pair).key) != 2:
        return "its keys and values come from another layer, not from its own input"
    u = layer.attend(pair)
    u = torch.stack([u[0], torch.cat([u[1, :1], u[0, 1:]])])
    done = layer.finish(pair, u)
    if not _gap(done[1, 1:], done[0, 1:]) <= _tolerance(done):
        return "the output of a token depends on other tokens outside its attention"
    return ""


def _leaks_before(layer: Layer) -> str:
    """Changes one token and looks at the projections of the others."""
    seen = layer.capture(_changed(layer))
    bias = seen.form.bias
    if bias is not None and not torch.allclose(bias[0], bias[-1]):
        return "its mask or position bias depends on the hidden states"
    for name in PARTS:
        part = getattr(seen, name).transpose(1, 2)
        if not _gap(part[1, 1:], part[0, 1:]) <= _tolerance(part):
            return f"the {name} of a token depends on other tokens"
    return ""


def _changed(layer: Layer) -> Tensor:
    """The hidden states, and once more with one token changed."""
    changed = layer.hidden.clone()
    changed[0] = layer.hidden[-1] - layer.hidden[0] / 2
    return torch.stack([layer.hidden, changed])


def _no_path(layer: Layer) -> str:
    """Why projections have no derivative along a path that leaves mask and bias alone, '' if they do."""
    try:
        layer.capture_path(layer.hidden[None], torch.ones_like(layer.hidden[None]))
    except UnsupportedModel as error:
        return str(error).removeprefix(f"Layer {layer.index}: ").removesuffix(".")
    except RuntimeError as error:
        return f"forward-mode differentiation cannot follow its projections: {error}"
    return ""


# --- what makes a layer fast ----------------------------------------------------------------------


def _equipped(layer: Layer) -> Layer:
    """The layer with what may be left out, packed or computed in closed form, each checked."""
    if layer.entangled:
        return replace(layer, anywhere=_is_anywhere(layer), cost=_cost(layer), repeats=_repeats(layer))
    projections = projections_of(layer)
    if not _unused(layer, projections):
        projections = {}
    layer = replace(
        layer,
        projections=projections,
        anywhere=not layer.memory and _is_anywhere(layer),
        cost=_cost(layer),
        repeats=_repeats(layer),
    )
    shortcut = recognise(layer, projections)
    if isinstance(shortcut, str):
        return replace(layer, no_shortcut=shortcut)
    return replace(layer, shortcut=shortcut)


def _repeats(layer: Layer) -> bool:
    again = layer.finish(layer.hidden[None], layer.attend(layer.hidden[None]))[0]
    return _gap(again, layer.output) <= _tolerance(again) / 300


def _unused(layer: Layer, projections: Mapping[nn.Module, int]) -> bool:
    """Whether nothing but attention takes these projections."""
    hidden, u = _apart(layer)
    try:
        without = replace(layer, projections=projections).finish(hidden, u)
    except (RuntimeError, ValueError, TypeError):
        return False
    return _gap(without, layer.finish(hidden, u)) <= _tolerance(u) / 100


def _is_anywhere(layer: Layer) -> bool:
    """Whether tokens may change places after attention."""
    hidden, u = _apart(layer)
    turned = layer.finish(hidden.flip(1), u.flip(1)).flip(1)
    return _gap(turned, layer.finish(hidden, u)) <= _tolerance(u) / 100


def _apart(layer: Layer) -> tuple[Tensor, Tensor]:
    """Hidden states, and attention outputs that do not follow from them."""
    pair = torch.stack([layer.hidden, layer.hidden.roll(1, 0) - layer.hidden / 2])
    return pair, layer.attend(pair).flip(0)


def _cost(layer: Layer) -> int:
    """Numbers that a token keeps for the way back after attention, and as many again on the way."""
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    weights = {p.untyped_storage().data_ptr() for p in layer.module.parameters()}
    u = layer.attend(layer.hidden[None]).requires_grad_()
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        layer.finish(layer.hidden[None], u)
    held = sum(size for place, size in kept.items() if place not in weights)
    return 2 * held // u.element_size() // len(layer.hidden) + 20 * layer.hidden.shape[1]


def _gap(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).norm() / theirs.norm().clamp(min=1e-30))


def _tolerance(tensor: Tensor) -> float:
    return 1e-9 if tensor.dtype == torch.float64 else 1e-3
