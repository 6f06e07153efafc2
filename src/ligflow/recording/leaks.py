"""What a token may depend on: in a layer that is split, on other tokens through its attention alone."""

from functools import partial

import torch
from torch import Tensor

from ligflow.errors import UnsupportedModel
from ligflow.layer.interface import PROJECTIONS, Captured, plain
from ligflow.layer.layer import Layer
from ligflow.recording.capabilities import uneven
from ligflow.recording.tolerances import error_over_allowance, max_token_error, rounding


def leaks_after(layer: Layer) -> str:
    """Changes what attention gives to one token and looks at what the layer makes of the others."""
    for token in dict.fromkeys((0, len(layer.hidden) - 1)):
        pair = _changed(layer, token)
        u = layer.attend(pair)
        mixed = u[:1].repeat(2, 1, 1, 1)
        mixed[1, token] = u[1, token].flip(-1) - u[0, token]  # in all heads, also where one token moves few
        if not _others_stay(layer.finish(pair, mixed), token):
            return "the output of a token depends on other tokens outside its attention"
    return ""


def _others_stay(pair: Tensor, changed: int) -> bool:
    """Whether all tokens but one are the same in both examples."""
    before, after = (torch.cat([example[:changed], example[changed + 1 :]]) for example in pair.flatten(2))
    return not len(before) or max_token_error(after, before) <= rounding(pair)


def leaks_in_memory(layer: Layer) -> str:
    """Changes a token of the encoder and looks at the keys and values of the others, and at other uses."""
    own = layer.encoded
    for token in dict.fromkeys((0, len(own) - 1)):
        changed = own.clone()
        changed[token] = own[len(own) - 1 - token].flip(-1) - own[token] / 2
        captured = layer.capture_second(torch.stack([own, changed]))
        if not all(_others_stay(part.transpose(1, 2), token) for part in (captured.key, captured.value)):
            return "the keys of an encoder's token depend on its other tokens"
        hidden, u = layer.hidden[None], layer.attend(layer.hidden[None])
        second = partial(_given, plain(captured)[:1])
        both = (layer, layer.with_encoded(changed[None]))
        outputs = [replayed.finish(hidden, u, second) for replayed in both]
        if not max_token_error(outputs[1], outputs[0]) <= rounding(own):
            return "it uses the encoder's states outside its second attention"
    return ""


def has_shared_keys(layer: Layer) -> bool:
    """Whether keys and values are made without the layer's hidden states, whatever the numbers are."""
    hidden = layer.hidden.detach()[None].requires_grad_()
    with torch.enable_grad():
        captured = layer.capture(hidden)
    return not (captured.key.requires_grad or captured.value.requires_grad)


def _given(u: Tensor, _captured: Captured) -> Tensor:
    return u


def leaks_before(layer: Layer) -> str:
    """Changes one token and looks at the projections of the others."""
    if (layer.forms and forms_move(layer)) or bias_moves(layer):
        return "its mask or position bias depends on the hidden states"
    for token in dict.fromkeys((0, len(layer.hidden) - 1)):
        captured = layer.capture(_changed(layer, token))
        for name in PROJECTIONS:
            if not _others_stay(getattr(captured, name).transpose(1, 2), token):
                return f"the {name} of a token depends on other tokens"
    return ""


def bias_moves(layer: Layer) -> bool:
    """Whether mask or bias are others on other hidden states, e.g. since keys are chosen by them."""
    hidden, own = layer.hidden, layer.capture(layer.hidden[None]).form.bias
    if own is None:
        return False
    others = (-hidden.flip(-1), hidden.flip(0), hidden.roll(1, 0) - hidden / 2, _changed(layer)[1])
    biases = [layer.capture(one[None]).form.bias for one in others]
    return any(one is None or not torch.allclose(one, own) for one in biases)


def forms_move(layer: Layer) -> bool:
    """Whether attentions seen at their softmax have another scale or bias on other hidden states."""
    changed = -layer.hidden.flip(-1)[None]
    u = layer.attend(changed)
    own, split, still = layer.forward(changed), layer.finish(changed, u), layer.finish(changed, 0 * u)
    return not error_over_allowance(split[0], own[0], still[0]) <= 1


def _changed(layer: Layer, token: int = 0) -> Tensor:
    """The hidden states, and once more with one token changed, not in length alone: a norm undoes that."""
    hidden, changed = layer.hidden, layer.hidden.clone()
    changed[token] = hidden[len(hidden) - 1 - token] - hidden[token] / 2 + uneven(hidden)[token]
    return torch.stack([hidden, changed])


def no_path(layer: Layer) -> str:
    """Why projections have no derivative along a path that leaves mask and bias alone, '' if they do."""
    try:
        layer.capture_path(layer.hidden[None], torch.ones_like(layer.hidden[None]))
    except UnsupportedModel as error:
        return str(error).removeprefix(f"Layer {layer.index}: ").removesuffix(".")
    except RuntimeError as error:
        return f"forward-mode differentiation cannot follow its projections: {error}"
    return ""
