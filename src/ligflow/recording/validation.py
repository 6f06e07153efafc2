"""A recorded layer, checked for what the method relies on."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from ligflow.errors import LigflowError, UnsupportedModel
from ligflow.layer.closed_form import PARTS
from ligflow.layer.interface import Captured, plain
from ligflow.layer.layer import Layer
from ligflow.layer.model_state import prepared
from ligflow.layer.windows import order_by_bits
from ligflow.recording.as_loaded import other_attention
from ligflow.recording.capabilities import equipped, uneven
from ligflow.recording.lost_gradients import lost_in
from ligflow.recording.tolerances import error_over_allowance, gap, max_token_error, rounding, tolerance


def validate(model: nn.Module, layer: Layer) -> Layer:
    """The layer with its findings, `whole` if it is not what the method relies on.

    Checked: the split layer reproduces what the model itself computed; replays in a batch; a
    token's projections, and what follows attention, depend on no other token; mask and position
    bias do not move with the hidden states. Raises LigflowError where the model itself gives NaN.
    """
    with replaying(layer):
        layer = _judged(model, layer)
        with prepared(model, layer.implementation), torch.no_grad():
            _refuse_lost_gradient(layer)
            if layer.mode != "split":  # whose maps are plain autograd through the layer
                _refuse_no_gradient(layer)
            if layer.mode == "whole":
                _refuse_other_replay(layer)
                return layer
            return equipped(layer)


def holds(model: nn.Module, layer: Layer, seen: Layer) -> bool:
    """Whether what was found on other inputs is found on these, where attention is seen at its softmax.

    What does not depend on values is not looked at again.
    """
    with replaying(layer):
        if seen.mode == "whole":
            again = _judged(model, layer)
            return (again.mode, again.findings.reason) == ("whole", seen.findings.reason)
        layer = replace(layer, findings=seen.findings)
        with prepared(model, layer.implementation), torch.no_grad():
            own = layer.forward(layer.hidden[None])[0]
            return not (_differs(layer, own) or _forms_move(layer))


@contextmanager
def replaying(layer: Layer) -> Iterator[None]:
    """Errors of the model's own code name the layer."""
    try:
        yield
    except LigflowError:
        raise
    except KeyError as error:
        raise UnsupportedModel(
            f"Layer {layer.index} ({layer.name}) looks up {error}, which it does not have: its attention has "
            "no plain ('eager') implementation."
        ) from error
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError) as error:
        raise UnsupportedModel(f"Layer {layer.index} ({layer.name}) cannot be replayed: {error}") from error


def _judged(model: nn.Module, layer: Layer) -> Layer:
    """The layer with what decides about its routes."""
    layer, own = _with_reference(model, layer)
    with prepared(model, layer.implementation), torch.no_grad():
        _refuse_other_output(layer, layer.forward(layer.hidden[None])[0])
    reference = None if layer.findings.as_loaded else "eager"
    with prepared(model, reference), torch.no_grad():
        layer = layer if layer.findings.one_by_one or _batches(layer, own) else _tiled(layer, own)
    if layer.mode == "whole":
        return layer
    if layer.findings.one_by_one and layer.findings.memory:
        return _without_memory(layer, "it takes one example at a time, and it attends to an encoder")
    with prepared(model, layer.implementation), torch.no_grad():
        layer = _in_order(layer) if layer.findings.windows else layer
        layer = _with_own_keys(layer) if layer.calls else layer
        if layer.mode == "whole":
            return layer
        if reason := _differs(layer, own) or _leaks_after(layer):
            return layer.whole(reason)
        if reason := _leaks_in_memory(layer) if layer.findings.memory else "":
            return _without_memory(layer, reason)
        if layer.mode == "split" and (reason := _leaks_before(layer) or _no_path(layer)):
            layer = layer.coupled(reason)
        coupled = layer.mode == "coupled"
        if coupled and layer.findings.memory:
            return _without_memory(layer, layer.findings.reason)
        if coupled and layer.forms and _forms_move(layer):
            return layer.whole("on other hidden states its attention is no softmax of its products")
        return layer


def _with_reference(model: nn.Module, layer: Layer) -> tuple[Layer, Tensor]:
    """The layer, and what a split is compared with: its output under an unmodified attention.

    That is the eager one where it gives what the model gave. Not so where it adds masks of truth values as
    numbers (Grounding DINO's text), is not there, or is not what the model was loaded with.
    """
    if not layer.findings.as_loaded:
        try:
            eager = _run(model, layer, "eager")
        except KeyError as error:
            if error.args != ("eager",):
                raise
        else:
            if _is_output(layer, eager):
                return layer, eager
    own, layer = _run(model, layer, None), layer.with_findings(as_loaded=True)
    if layer.mode != "whole" and _is_output(layer, own):
        split = _run(model, layer, layer.implementation)
        layer = layer if _is_output(layer, split) else other_attention(layer)
    return layer, own


def _is_output(layer: Layer, again: Tensor) -> bool:
    return max_token_error(again, layer.output) <= tolerance(again)


def _run(model: nn.Module, layer: Layer, implementation: str | None) -> Tensor:
    with prepared(model, implementation), torch.no_grad():
        return layer.forward(layer.hidden[None])[0]


def _without_memory(layer: Layer, reason: str) -> Layer:
    return layer.whole(reason).with_findings(memory="", cross_heads=0)


def _with_own_keys(layer: Layer) -> Layer:
    """The layer, refused if one of its attentions sees keys of something else, e.g. of an encoder."""
    hidden = layer.hidden.detach()[None].requires_grad_()
    with torch.enable_grad():
        seen = layer.each_attention(hidden)
    if all(one.key.requires_grad for one, _ in seen):
        return layer
    count = len(layer.calls)
    return layer.whole(f"it calls attention {count} times, not always with keys of its own tokens")


def _in_order(layer: Layer) -> Layer:
    """The layer with the order in which tokens stand in its windows, found by changing some at a time."""
    assert layer.findings.windows
    before, places = layer.capture(layer.hidden[None]).query, torch.arange(len(layer.hidden), device="cpu")
    changed = []
    for bit in range(max(1, (len(places) - 1).bit_length())):
        some = (places >> bit & 1).bool().to(layer.hidden.device)
        after = layer.capture(torch.where(some[:, None], -layer.hidden.flip(-1), layer.hidden)[None]).query
        moved, size = (after - before).norm(dim=(1, 3))[0], before.norm(dim=(1, 3))[0]
        changed.append(moved > tolerance(before) * size)
    order = order_by_bits(changed)
    if order is None:
        return layer.whole("the windows of its attention do not hold each token once")
    return layer.with_findings(windows=layer.findings.windows.in_order(order))


def _refuse_other_output(layer: Layer, again: Tensor) -> None:
    """A replay must give what the layer gave in the model."""
    kind = f"Layer {layer.index} ({layer.name}, {type(layer.module).__name__})"
    if not torch.isfinite(again).all():
        raise LigflowError(
            f"{kind} gives NaN or infinite values on this input; check the weights, or load the model in a "
            "wider dtype. A mask that hides every key from a token gives NaN too."
        )
    error = gap(again, layer.output)
    if not error <= tolerance(again):
        raise UnsupportedModel(
            f"{kind}, replayed alone, differs by {error:.1e} from what it gave in the model: it depends on "
            "more than its arguments."
        )


def _refuse_other_replay(layer: Layer) -> None:
    """What is not split goes through the layer as it is, which must give what it gave in the model."""
    again = layer.forward(layer.hidden[None])[0]
    if not _is_output(layer, again):
        off = max_token_error(again, layer.output)
        raise UnsupportedModel(
            f"Layer {layer.index} ({layer.name}, {type(layer.module).__name__}) cannot be explained: "
            f"{layer.findings.reason}, and its {layer.implementation or 'own'} attention, through which z2z "
            f"would go, gives other than the model by {off:.1e}."
        )


def _refuse_no_gradient(layer: Layer) -> None:
    """A layer must let its output be differentiated: nothing that is needed for it may be overwritten."""
    hidden = layer.hidden.detach()[None].requires_grad_()
    try:
        with torch.enable_grad():
            torch.autograd.grad(layer.forward(hidden).sum(), hidden)
    except RuntimeError as error:
        raise UnsupportedModel(
            f"Layer {layer.index} ({layer.name}, {type(layer.module).__name__}) cannot be differentiated: "
            f"{str(error).splitlines()[0]}"
        ) from error


def _refuse_lost_gradient(layer: Layer) -> None:
    """A layer with a part that has no gradient would have maps that leave out what goes through it."""
    lost = lost_in(layer)
    if lost:
        raise UnsupportedModel(
            f"Layer {layer.index} ({layer.name}, {type(layer.module).__name__}) cannot be explained: no "
            f"gradient comes back through {lost}. If a quantisation packs its weights, load it without."
        )


def _batches(layer: Layer, own: Tensor) -> bool:
    """Whether a batch of two gives each example its own output."""
    try:
        both = layer.forward(torch.stack([layer.hidden, layer.hidden.flip(0)]))
    except (RuntimeError, ValueError, IndexError, AssertionError):
        return False
    return both.shape[0] == 2 and max_token_error(both[0], own) <= rounding(own)


def _tiled(layer: Layer, own: Tensor) -> Layer:
    """The layer with what counts the heads, or the parts, of one example given for each; or one by one."""
    heads = {form.bias.shape[1] for form in layer.forms if form.bias is not None} - {1}
    given = {name: one for name, one in layer.arguments.items() if isinstance(one, Tensor) and one.ndim > 1}
    for counts in (heads, {layer.layout.parts}):
        tiled = tuple(
            name for name in given if given[name].shape[0] in counts and name != layer.findings.memory
        )
        batched = layer.with_findings(tiled=tiled)
        if tiled and _batches(batched, own):
            return batched
    return layer.with_findings(one_by_one=True)


def _differs(layer: Layer, own: Tensor) -> str:
    pair = layer.hidden.expand(2, -1, -1)
    u = layer.attend(pair)
    split, still = layer.finish(pair, u), layer.finish(pair[:1], torch.zeros_like(u[:1]))[0]
    for name, other in (("loaded" if layer.findings.as_loaded else "eager", own), ("recorded", layer.output)):
        if not max(error_over_allowance(one, other, still) for one in split) <= 1:
            off = max(max_token_error(one, other) for one in split)
            return f"split at its attention it differs from the model's own ({name}) output by {off:.1e}"
    return ""


def _leaks_after(layer: Layer) -> str:
    """Changes what attention gives to one token and looks at what the layer makes of the others."""
    for one in dict.fromkeys((0, len(layer.hidden) - 1)):
        pair = _changed(layer, one)
        if layer.mode == "split" and _is_held(layer):
            return "its keys and values come from another layer, not from its own input"
        u = layer.attend(pair)
        mixed = u[:1].repeat(2, 1, 1, 1)
        mixed[1, one] = u[1, one].flip(-1) - u[0, one]  # in all heads, also where one token moves few
        if not _others_stay(layer.finish(pair, mixed), one):
            return "the output of a token depends on other tokens outside its attention"
    return ""


def _others_stay(pair: Tensor, changed: int) -> bool:
    """Whether all tokens but one are the same in both examples."""
    before, after = (torch.cat([one[:changed], one[changed + 1 :]]) for one in pair.flatten(2))
    return not len(before) or max_token_error(after, before) <= rounding(pair)


def _leaks_in_memory(layer: Layer) -> str:
    """Changes a token of the encoder and looks at the keys and values of the others, and at other uses."""
    own = layer.encoded
    for one in dict.fromkeys((0, len(own) - 1)):
        changed = own.clone()
        changed[one] = own[len(own) - 1 - one].flip(-1) - own[one] / 2
        seen = layer.capture_second(torch.stack([own, changed]))
        if not all(_others_stay(part.transpose(1, 2), one) for part in (seen.key, seen.value)):
            return "the keys of an encoder's token depend on its other tokens"
        hidden, u = layer.hidden[None], layer.attend(layer.hidden[None])
        second = partial(_given, plain(seen)[:1])
        both = (layer, layer.with_encoded(changed[None]))
        found = [replayed.finish(hidden, u, second) for replayed in both]
        if not max_token_error(found[1], found[0]) <= rounding(own):
            return "it uses the encoder's states outside its second attention"
    return ""


def _is_held(layer: Layer) -> bool:
    """Whether keys and values are made without the hidden states, whatever the numbers are."""
    hidden = layer.hidden.detach().repeat(2, 1, 1).requires_grad_()
    with torch.enable_grad():
        seen = layer.capture(hidden)
    return len(seen.key) != 2 or not (seen.key.requires_grad or seen.value.requires_grad)


def _given(u: Tensor, _captured: Captured) -> Tensor:
    return u


def _leaks_before(layer: Layer) -> str:
    """Changes one token and looks at the projections of the others."""
    if (layer.forms and _forms_move(layer)) or _bias_moves(layer):
        return "its mask or position bias depends on the hidden states"
    for one in dict.fromkeys((0, len(layer.hidden) - 1)):
        seen = layer.capture(_changed(layer, one))
        for name in PARTS:
            if not _others_stay(getattr(seen, name).transpose(1, 2), one):
                return f"the {name} of a token depends on other tokens"
    return ""


def _bias_moves(layer: Layer) -> bool:
    """Whether mask or bias are others on other hidden states, e.g. since keys are chosen by them."""
    hidden, own = layer.hidden, layer.capture(layer.hidden[None]).form.bias
    if own is None:
        return False
    others = (-hidden.flip(-1), hidden.flip(0), hidden.roll(1, 0) - hidden / 2, _changed(layer)[1])
    biases = [layer.capture(one[None]).form.bias for one in others]
    return any(one is None or not torch.allclose(one, own) for one in biases)


def _forms_move(layer: Layer) -> bool:
    """Whether attentions seen at their softmax have another scale or bias on other hidden states."""
    changed = -layer.hidden.flip(-1)[None]
    u = layer.attend(changed)
    own, split, still = layer.forward(changed), layer.finish(changed, u), layer.finish(changed, 0 * u)
    return not error_over_allowance(split[0], own[0], still[0]) <= 1


def _changed(layer: Layer, one: int = 0) -> Tensor:
    """The hidden states, and once more with one token changed, not in length alone: a norm undoes that."""
    changed = layer.hidden.clone()
    changed[one] = layer.hidden[len(changed) - 1 - one] - layer.hidden[one] / 2 + uneven(layer.hidden)[one]
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
