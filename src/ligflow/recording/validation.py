"""A recorded layer, checked for what the method relies on."""

from dataclasses import replace

import torch
from torch import nn

from ligflow.layer.experts import count_of_choices
from ligflow.layer.layer import Layer
from ligflow.layer.model_state import prepared
from ligflow.layer.windows import order_by_bits
from ligflow.recording.capabilities import equipped, is_rotated
from ligflow.recording.first_tokens import on_first_tokens
from ligflow.recording.leaks import (
    bias_moves,
    forms_move,
    has_shared_keys,
    leaks_after,
    leaks_before,
    leaks_in_memory,
    no_path,
)
from ligflow.recording.lost_gradients import refuse_lost_gradient, refuse_no_gradient
from ligflow.recording.replays import (
    batches,
    differs,
    refuse_other_output,
    refuse_other_replay,
    replaying,
    tiled,
    with_reference,
)
from ligflow.recording.tolerances import tolerance


def validate(model: nn.Module, layer: Layer) -> Layer:
    """The layer with its findings, `whole` if it is not what the method relies on.

    Checked: the split layer reproduces what the model itself computed; replays in a batch; a
    token's projections, and what follows attention, depend on no other token; mask and position
    bias do not move with the hidden states. Of a long text whose tokens see no later ones, what does not
    depend on their number is seen on the first of them; that the split layer gives what the model gave, what
    positions do, and that masks do not move, on all. Raises LigflowError where the model itself gives NaN.
    """
    with replaying(layer), prepared(model, None):
        first = on_first_tokens(model, layer)
        found = None if first is None else _as_on_first(model, layer, _validated(model, first))
        return _validated(model, layer) if found is None else found


def _as_on_first(model: nn.Module, layer: Layer, first: Layer) -> Layer | None:
    """The layer with what was found on its first tokens, None where that is not all."""
    if first.mode != "split":
        return None
    layer = replace(layer, findings=first.findings)
    with prepared(model, layer.implementation), torch.no_grad():
        if first.findings.choices or differs(layer, layer.output) or bias_moves(layer):
            return None
        return layer if is_rotated(layer) else None


def _validated(model: nn.Module, layer: Layer) -> Layer:
    """The layer with its findings, all on its own tokens."""
    layer = _judged(model, layer)
    with prepared(model, layer.implementation), torch.no_grad():
        layer = layer.with_findings(choices=count_of_choices(layer))
        refuse_lost_gradient(layer)
        if layer.mode != "split":  # whose maps are plain autograd through the layer
            refuse_no_gradient(layer)
        if layer.mode == "whole":
            refuse_other_replay(layer)
            return layer
        return equipped(layer)


def holds(model: nn.Module, layer: Layer, earlier: Layer) -> bool:
    """Whether what was found on other inputs is found on these, where attention is seen at its softmax.

    What does not depend on values is not looked at again.
    """
    with replaying(layer), prepared(model, None):
        if earlier.mode == "whole":
            again = _judged(model, layer)
            return (again.mode, again.findings.reason) == ("whole", earlier.findings.reason)
        layer = replace(layer, findings=earlier.findings)
        with prepared(model, layer.implementation), torch.no_grad():
            own = layer.forward(layer.hidden[None])[0]
            return not (differs(layer, own) or forms_move(layer))


def _judged(model: nn.Module, layer: Layer) -> Layer:
    """The layer with what decides about its routes."""
    layer, own = with_reference(model, layer)
    with prepared(model, layer.implementation), torch.no_grad():
        refuse_other_output(layer, layer.forward(layer.hidden[None])[0])
    reference = None if layer.findings.as_loaded else "eager"
    with prepared(model, reference), torch.no_grad():
        layer = layer if layer.findings.one_by_one or batches(layer, own) else tiled(layer, own)
    if layer.mode == "whole":
        return layer
    if layer.findings.one_by_one and layer.findings.memory:
        return _without_memory(layer, "it takes one example at a time, and it attends to an encoder")
    with prepared(model, layer.implementation), torch.no_grad():
        layer = _in_order(layer) if layer.findings.windows else layer
        layer = _with_own_keys(layer) if layer.calls else layer
        if layer.mode == "whole":
            return layer
        if reason := differs(layer, own) or leaks_after(layer):
            return layer.whole(reason)
        if reason := leaks_in_memory(layer) if layer.findings.memory else "":
            return _without_memory(layer, reason)
        if layer.mode == "split" and (reason := leaks_before(layer) or no_path(layer)):
            layer = layer.coupled(reason)
        if layer.mode == "split":
            layer = layer.with_findings(shared_keys=has_shared_keys(layer))
        coupled = layer.mode == "coupled"
        if coupled and layer.findings.memory:
            return _without_memory(layer, layer.findings.reason)
        if coupled and layer.forms and forms_move(layer):
            return layer.whole("on other hidden states its attention is no softmax of its products")
        return layer


def _without_memory(layer: Layer, reason: str) -> Layer:
    return layer.whole(reason).with_findings(memory="", cross_heads=0)


def _with_own_keys(layer: Layer) -> Layer:
    """The layer, refused if one of its attentions sees keys of something else, e.g. of an encoder."""
    hidden = layer.hidden.detach()[None].requires_grad_()
    with torch.enable_grad():
        attended = layer.each_attention(hidden)
    if all(captured.key.requires_grad for captured, _ in attended):
        return layer
    count = len(layer.calls)
    return layer.whole(f"it calls attention {count} times, not always with keys of its own tokens")


def _in_order(layer: Layer) -> Layer:
    """The layer with the order in which tokens stand in its windows, found by changing some at a time."""
    assert layer.findings.windows
    before, places = layer.capture(layer.hidden[None]).query, torch.arange(len(layer.hidden), device="cpu")
    changed = []
    for bit in range(max(1, (len(places) - 1).bit_length())):
        members = (places >> bit & 1).bool().to(layer.hidden.device)
        after = layer.capture(torch.where(members[:, None], -layer.hidden.flip(-1), layer.hidden)[None]).query
        moved, size = (after - before).norm(dim=(1, 3))[0], before.norm(dim=(1, 3))[0]
        changed.append(moved > tolerance(before) * size)
    order = order_by_bits(changed)
    if order is None:
        return layer.whole("the windows of its attention do not hold each token once")
    return layer.with_findings(windows=layer.findings.windows.in_order(order))
