"""A recorded layer, checked for what the method relies on."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn

from ligflow.agreement import gap, tolerance
from ligflow.equipped import equipped
from ligflow.errors import LigflowError, UnsupportedModel
from ligflow.replay import Captured, Layer, borrowed
from ligflow.shortcuts import PARTS
from ligflow.windows import order_by_bits


def validate(model: nn.Module, layer: Layer) -> Layer:
    """The layer, with a `refusal` if it is not what the method relies on.

    Checked: the split layer reproduces the model's own (eager) attention; replays in a batch; a
    token's projections, and what follows attention, depend on no other token; mask and position
    bias do not move with the hidden states. Raises LigflowError where the model itself gives NaN.
    """
    with replaying(layer):
        return _validate(model, layer)


@contextmanager
def replaying(layer: Layer) -> Iterator[None]:
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
        layer = layer if layer.one_by_one or _batches(layer, own) else _tiled(layer, own)
    if layer.refusal:
        return layer
    if layer.one_by_one and layer.memory:
        reason = "it takes one example at a time, and it attends to an encoder"
        return replace(layer, refusal=reason, memory="", cross_heads=0)
    with borrowed(model, layer.implementation), torch.no_grad():
        layer = _in_order(layer) if layer.windows else layer
        layer = _with_own_keys(layer) if layer.calls else layer
        refusal = layer.refusal or _differs(layer, own) or _leaks_after(layer)
        if refusal:
            return replace(layer, refusal=refusal)
        entangled = layer.entangled or _leaks_before(layer) or _no_path(layer)
        if entangled and (layer.memory or layer.windows):
            return replace(layer, refusal=entangled, memory="", cross_heads=0)
        return equipped(replace(layer, entangled=entangled))


def _with_own_keys(layer: Layer) -> Layer:
    """The layer, refused if one of its attentions sees keys of something else, e.g. of an encoder."""
    before, after = (layer.each_attention(one[None]) for one in (layer.hidden, -layer.hidden.flip(-1)))
    if all(one.key.ne(other.key).any() for (one, _), (other, _) in zip(before, after, strict=True)):
        return layer
    count = len(layer.calls)
    return replace(layer, refusal=f"it calls attention {count} times, not always with keys of its own tokens")


def _in_order(layer: Layer) -> Layer:
    """The layer with the order in which tokens stand in its windows, found by changing some at a time."""
    assert layer.windows
    before, places = layer.capture(layer.hidden[None]).query, torch.arange(len(layer.hidden))
    changed = []
    for bit in range(max(1, (len(places) - 1).bit_length())):
        some = (places >> bit & 1).bool().to(layer.hidden.device)
        after = layer.capture(torch.where(some[:, None], -layer.hidden.flip(-1), layer.hidden)[None]).query
        moved, size = (after - before).norm(dim=(1, 3))[0], before.norm(dim=(1, 3))[0]
        changed.append(moved > tolerance(before) * size)
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
            "wider dtype. A mask that hides every key from a token gives NaN too."
        )
    apart = gap(again, layer.output)
    if not apart <= tolerance(again):
        raise UnsupportedModel(
            f"{kind}, replayed alone, differs by {apart:.1e} from what it gave in the model: it depends on "
            "more than its arguments."
        )


def _batches(layer: Layer, own: Tensor) -> bool:
    """Whether a batch of two gives each example its own output."""
    try:
        both = layer.forward(torch.stack([layer.hidden, layer.hidden.flip(0)]))
    except (RuntimeError, ValueError, IndexError):
        return False
    return both.shape[0] == 2 and gap(both[0], own) <= tolerance(own)


def _tiled(layer: Layer, own: Tensor) -> Layer:
    """The layer with what counts the heads of one example given for each example, or one by one."""
    heads = {form.bias.shape[1] for form in layer.forms if form.bias is not None} - {1}
    tensors = {name: given for name, given in layer.arguments.items() if isinstance(given, Tensor)}
    tiled = tuple(name for name, given in tensors.items() if given.ndim > 2 and given.shape[0] in heads)
    batched = replace(layer, tiled=tiled)
    return batched if tiled and _batches(batched, own) else replace(layer, one_by_one=True)


def _differs(layer: Layer, own: Tensor) -> str:
    pair = layer.hidden.expand(2, -1, -1)
    split = layer.finish(pair, layer.attend(pair))
    for name, other in (("eager", own), ("recorded", layer.output)):
        apart = max(gap(one, other) for one in split)
        if not apart <= tolerance(own):
            return f"split at its attention it differs from the model's own ({name}) output by {apart:.1e}"
    return ""


def _leaks_after(layer: Layer) -> str:
    """Changes what attention gives to one token and looks at what the layer makes of the others."""
    pair = _changed(layer)
    if not layer.entangled and _is_held(layer.capture(pair)):
        return "its keys and values come from another layer, not from its own input"
    u = layer.attend(pair)
    u = torch.stack([u[0], torch.cat([u[1, :1], u[0, 1:]])])
    done = layer.finish(pair, u)
    if not gap(done[1, 1:], done[0, 1:]) <= tolerance(done):
        return "the output of a token depends on other tokens outside its attention"
    return ""


def _is_held(seen: Captured) -> bool:
    """Whether two examples have the keys and values of one (which a norm gives a lone token, halved, too)."""
    alone = seen.key.shape[2] == 1
    return len(seen.key) != 2 or (not alone and torch.equal(*seen.key) and torch.equal(*seen.value))


def _leaks_before(layer: Layer) -> str:
    """Changes one token and looks at the projections of the others."""
    if layer.forms and _forms_move(layer):
        return "its mask or position bias depends on the hidden states"
    seen = layer.capture(_changed(layer))
    bias = seen.form.bias
    if bias is not None and not torch.allclose(bias[0], bias[-1]):
        return "its mask or position bias depends on the hidden states"
    for name in PARTS:
        part = getattr(seen, name).transpose(1, 2)
        if not gap(part[1, 1:], part[0, 1:]) <= tolerance(part):
            return f"the {name} of a token depends on other tokens"
    return ""


def _forms_move(layer: Layer) -> bool:
    """Whether attentions seen at their softmax have another scale or bias on other hidden states."""
    changed = -layer.hidden.flip(-1)[None]
    own = layer.forward(changed)
    return not gap(layer.finish(changed, layer.attend(changed)), own) <= tolerance(own)


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
