"""What is explained is what the model runs: a recorded layer, held against the model as it was loaded.

The recording run has an attention of ours, and the mask of the eager attention. The attention that a model
was loaded with may mean another one: a causal module that was told not to be, a mask function or an attention
function of somebody's own. So the model runs once more, untouched, and every layer is given the hidden states
and the output of that run. Where the two runs differ, the arguments are looked for under which the split
layer gives what the model gave. Of many texts each runs by itself: filled up to one length they would have a
mask, and a model that makes none for a text alone may then attend in another way.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from ligflow.layer.arguments import first_tensor
from ligflow.layer.layer import Layer
from ligflow.layer.model_state import prepared
from ligflow.method.attention import additive, causal_mask
from ligflow.recording.call import Call
from ligflow.recording.tolerances import max_token_error, rounding

WRONG = (RuntimeError, ValueError, TypeError, IndexError, AttributeError, KeyError, ImportError)
_MASK = "attention_mask"
_OWN_MASK = "attention masked as the model was loaded, which its eager attention would not be"


def followed(
    model: nn.Module,
    layers: Sequence[Layer],
    recorded: Sequence[Call],
    loaded: Sequence[Call],
    layer_of: Callable[[int, Call], Layer],
) -> list[Layer]:
    """The layers on what the model as loaded gave them, with the arguments that its attention means.

    `loaded` are their calls in that run. A layer whose attention is not the known one under another mask
    is `whole`, with the reason in its findings, and is replayed under the model's own implementation.
    """
    replayed = []
    for number, (layer, call, own) in enumerate(zip(layers, recorded, loaded, strict=True)):
        own = replace(own, attentions=call.attentions, inner=call.inner, at_softmax=call.at_softmax)
        with torch.no_grad():
            replayed.append(_follow(model, layer, _with_blind_tokens(layer_of(number, own), layer)))
    return replayed


def not_run(model: nn.Module, layers: Sequence[Layer], error: Exception) -> list[Layer]:
    """The layers of a model that does not run as it was loaded."""
    said = (
        f"the model does not run with the attention that it was loaded with ({_name(model)}: {error}), so "
        "its eager one is explained"
    )
    return [replace(layer, note=said) for layer in layers]


def other_attention(layer: Layer) -> Layer:
    """The layer, not to be split, since its attention is not the one that is known."""
    reason = (
        f"the attention that the model was loaded with ({_name(layer.module)}) gives other than a softmax of "
        "its queries and keys with a mask"
    )
    layer = layer.with_findings(as_loaded=True)
    return layer if layer.mode == "whole" else layer.whole(reason)


def watched(
    model: nn.Module, inputs: Mapping[str, Any], names: Iterable[str]
) -> dict[str, list[tuple[Tensor, Tensor]]]:
    """What modules take (first) and give in each of their calls, by name, in a run of the model as it is."""
    firsts: dict[str, list[Tensor]] = {name: [] for name in names}
    outputs: dict[str, list[Tensor]] = {name: [] for name in firsts}

    def before(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            firsts[name].append(next(iter([*args, *kwargs.values()])))

        return hook

    def after(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _args: tuple[Any, ...], output: Any) -> None:
            outputs[name].append(first_tensor(output))

        return hook

    handles = []
    try:
        for name in firsts:
            module = model.get_submodule(name)
            handles.append(module.register_forward_pre_hook(before(name), prepend=True, with_kwargs=True))
            handles.append(module.register_forward_hook(after(name)))
        with torch.no_grad():
            model(**inputs, **uncached(model))
    finally:
        for handle in handles:
            handle.remove()
    return {name: list(zip(firsts[name], outputs[name], strict=True)) for name in firsts}


def uncached(model: nn.Module) -> dict[str, Any]:
    """What a model is told so that it keeps no keys and values."""
    return {"use_cache": False} if "use_cache" in inspect.signature(model.forward).parameters else {}


def few_logits(model: nn.Module, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """What a model is told so that its head is read at one token, where nobody looks at what it says.

    For a long text the logits of all tokens take more memory than its layers. The token is named, not
    counted: of a number of last tokens Gemma 4 runs its upper layers on these alone.
    """
    known = inspect.signature(model.forward).parameters
    if "logits_to_keep" not in known or "labels" in inputs:
        return {}
    return {"logits_to_keep": torch.zeros(1, dtype=torch.long)}


def _follow(model: nn.Module, layer: Layer, loaded: Layer) -> Layer:
    """The recorded layer as it ran in the model as loaded."""
    taken = replace(layer, hidden=loaded.hidden, output=loaded.output)
    limit = rounding(loaded.output)
    if max(max_token_error(layer.hidden, taken.hidden), max_token_error(layer.output, taken.output)) <= limit:
        return taken
    best, least = loaded, float("inf")
    for candidate in _candidates(layer, loaded):
        off = _off(model, candidate)
        if off <= limit:
            return candidate
        best, least = (candidate, off) if off < least else (best, least)
    return best if least <= 10 * limit else other_attention(loaded)


def _with_blind_tokens(loaded: Layer, recorded: Layer) -> Layer:
    """The layer as loaded, with tokens that see nothing and that none sees as they were recorded.

    Such is padding before a text. What attention gives a token without a key is its implementation's choice.
    """
    blind = _blind_tokens(recorded)
    if blind is None or loaded.hidden.shape != recorded.hidden.shape:
        return loaded
    return replace(
        loaded,
        hidden=torch.where(blind[:, None], recorded.hidden, loaded.hidden),
        output=torch.where(blind[:, None], recorded.output, loaded.output),
    )


def _blind_tokens(layer: Layer) -> Bool[Tensor, " token"] | None:
    """Tokens from which the mask hides every key, and which it hides from the others; None without any."""
    mask, count = layer.arguments.get(_MASK), len(layer.hidden)
    if not isinstance(mask, Tensor) or mask.ndim != 4 or mask.shape[-2:] != (count, count):
        return None
    bias = additive(mask, layer.hidden[None, None])
    assert bias is not None
    hidden = (bias <= torch.finfo(layer.hidden.dtype).min / 2).flatten(0, 1).all(0)
    blind = hidden.all(-1)
    blind &= hidden[~blind].all(0)
    return blind if bool(blind.any()) else None


def _candidates(layer: Layer, loaded: Layer) -> Iterator[Layer]:
    """The layer with the mask of its eager attention, with the one it was given, and causal by itself."""
    arguments = loaded.arguments
    masks = {name: layer.arguments.get(name) for name in arguments if "mask" in name}
    yield replace(loaded, arguments=arguments | masks)
    heard = {name: _number(name, value, layer) for name, value in arguments.items()}
    yield replace(loaded, arguments=heard, note=_OWN_MASK)
    if _MASK in arguments and arguments[_MASK] is None and len(layer.hidden) > 1:
        every = layer.hidden[None, None]
        causal = additive(causal_mask(every, every), every)
        yield replace(loaded, arguments=heard | {_MASK: causal}, note=_OWN_MASK)


def _number(name: str, value: Any, layer: Layer) -> Any:
    """Masks of truth values for attention as numbers, which mean the same to every implementation."""
    mask = "mask" in name and isinstance(value, Tensor) and value.ndim == 4
    return additive(value, layer.hidden[None, None]) if mask else value


def _off(model: nn.Module, layer: Layer) -> float:
    """How far a replay is from the output; infinitely, if the layer does not run on these arguments."""
    try:
        with prepared(model, layer.implementation), torch.no_grad():
            return max_token_error(layer.forward(layer.hidden[None])[0], layer.output)
    except WRONG:
        return float("inf")


def _name(model: nn.Module) -> str:
    configs = (getattr(part, "config", None) for part in model.modules())
    names = (getattr(config, "_attn_implementation", None) for config in configs)
    return next((repr(name) for name in names if name), "its own")
