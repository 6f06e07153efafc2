"""The attention function that is registered with transformers, and what it sees."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import eager_mask

from ligflow.errors import LigflowError, UnsupportedModel
from ligflow.layer.softmax_watch import finding
from ligflow.layer.windows import Windows
from ligflow.method.attention import (
    ScoreTerms,
    additive,
    attention_output,
    attention_weights,
    by_target_blocks,
    causal_mask,
)

IMPLEMENTATION = "ligflow"
PROJECTIONS = ("query", "key", "value")


CACHE_NAMES = ("past_key_values", "past_key_value", "layer_past", "cache_params", "cache")


# Arguments without an effect on the value of the attention in a single, unpacked, uncached forward:
# windows are already in the mask, and positions already in the rotated queries and keys.
_NO_EFFECT = frozenset(
    (
        "sliding_window",
        "position_ids",
        "input_ids",
        "grid_thw",
        "cache_position",
        "deterministic",
        "use_cache",
        "training",
        "output_attentions",
        "output_hidden_states",
        "return_dict",
        "output_router_logits",
        *CACHE_NAMES,
    )
)


@dataclass(frozen=True, eq=False)
class Captured:
    """What reached the attention function: projections (with their tangents along a path) and form."""

    query: Float[Tensor, "batch head target dim"]
    key: Float[Tensor, "batch group source dim"]
    value: Float[Tensor, "batch group source value_dim"]
    form: ScoreTerms
    module: nn.Module | None = None


class Stop(Exception):
    """Ends a layer at its attention function."""


# PyTorch has one forward-mode level for the whole process; threads take turns.
forward_mode = threading.RLock()


current_action: ContextVar[Callable[[Captured], Tensor] | None] = ContextVar("action", default=None)


def _attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs: Any
) -> tuple[Tensor, None]:
    """The registered function: `[batch, head, token, dim]` in, `[batch, token, head, dim]` out."""
    if query.ndim != 4:
        raise UnsupportedModel(
            f"{type(module).__name__} hands over queries of shape {tuple(query.shape)}, not [1, heads, "
            "tokens, size]"
        )
    key, value = (_for_each(query, part) for part in (key, value))
    captured = Captured(query, key, value, _read_form(module, query, key, attention_mask, kwargs), module)
    return _acted(captured).transpose(1, 2).contiguous(), None


def _for_each(query: Tensor, part: Tensor) -> Tensor:
    """Keys or values of each example, also where a layer is given those of one, which another layer made."""
    return part.expand(len(query), -1, -1, -1) if len(part) == 1 else part


def _acted(captured: Captured) -> Float[Tensor, "batch head target value_dim"]:
    action = current_action.get()
    return plain(captured) if action is None else action(captured)


def plain(captured: Captured) -> Float[Tensor, "batch head target value_dim"]:
    """Attention as it is defined: `u = softmax(scale q.k + bias) v`, of a long text block by block."""
    query, key, form = captured.query, captured.key, captured.form

    def u(targets: slice) -> Tensor:
        weights = attention_weights(query[:, :, targets], key, form.of_targets(targets))
        return attention_output(weights, captured.value)

    return by_target_blocks(query, key, u)


def _read_form(
    module: nn.Module, query: Tensor, key: Tensor, mask: Tensor | None, kwargs: dict[str, Any]
) -> ScoreTerms:
    """Everything else that the function was given; an argument that is not understood is refused."""
    arguments = {name: value for name, value in kwargs.items() if value is not None}
    scaling = arguments.pop("scaling", None)
    softcap = arguments.pop("softcap", None)
    sink = arguments.pop("s_aux", None)
    bias = arguments.pop("position_bias", None)
    chosen = arguments.pop("indices", None)
    if chosen is not None and chosen.shape[-1] < key.shape[2]:
        raise UnsupportedModel(
            f"{type(module).__name__} lets its tokens see {chosen.shape[-1]} of {key.shape[2]} keys, chosen "
            "from the hidden states"
        )
    if arguments.pop("dropout", 0.0) and module.training:
        raise UnsupportedModel(f"{type(module).__name__} applies attention dropout; call model.eval() first")
    if arguments.pop("is_causal", False) and mask is None and query.shape[2] > 1:
        mask = causal_mask(query, key)
    unknown = sorted(name for name in arguments if name not in _NO_EFFECT)
    if unknown:
        raise UnsupportedModel(
            f"{type(module).__name__} passes attention argument {unknown[0]!r}, which ligflow does not "
            "understand"
        )
    bias = _join(additive(mask, query), bias)
    if sink is not None:
        sink = sink.detach().reshape(-1)
    return ScoreTerms(query.shape[-1] ** -0.5 if scaling is None else float(scaling), bias, softcap, sink)


def literal(mask: Any, captured: Captured) -> Any:
    """The additive mask `[1, 1, T, T]` that the module's own attention implementation takes `mask` for.

    Fused kernels take masks of truth values, and none at all for a causal module. The eager attention
    takes none for no mask, which a causal model never means: raises LigflowError.
    """
    module, query = captured.module, captured.query
    own = getattr(getattr(module, "config", None), "_attn_implementation", "eager")
    eager, bare = own in ("eager", IMPLEMENTATION), captured.form.bias is None and query.shape[2] > 1
    if eager and bare and getattr(module, "is_causal", False):
        raise LigflowError(
            f"{type(module).__name__} is causal, and without a mask its eager attention would look ahead; "
            "pass the attention_mask that the model passes to the layer."
        )
    if eager:
        return mask
    if mask is None and bare and getattr(module, "is_causal", True):
        mask = causal_mask(query, captured.key)
    return additive(mask, query) if isinstance(mask, Tensor) else mask


def _join(mask: Tensor | None, bias: Tensor | None) -> Tensor | None:
    if mask is None or bias is None:
        return bias if mask is None else mask
    return mask + bias


def hand_over(
    module: nn.Module | None, query: Tensor, key: Tensor, value: Tensor, form: ScoreTerms
) -> Tensor:
    """What a model's own softmax attention hands over, as a call of the attention function."""
    return _acted(Captured(query, key, value, form, module))


@contextmanager
def seen_at_softmax() -> Iterator[None]:
    """Attentions off the interface are seen by what they compute, in a run of one example."""
    with forward_mode, finding(partial(hand_over, None)):
        yield


def substitute(parts: Sequence[Tensor], second: Callable[[Captured], Tensor]) -> Callable[[Captured], Tensor]:
    """An attention that gives u part by part, and then what `second` gives."""
    waiting = iter(parts)

    def action(captured: Captured) -> Tensor:
        part = next(waiting, None)
        return second(captured) if part is None else part

    return action


def side_by_side(captures: Sequence[Captured], windows: Windows) -> Captured:
    """Attention calls for windows as one call for all tokens, in which no window sees another."""
    first = captures[0]
    query, key, value = (
        windows.whole([getattr(captured, name) for captured in captures]) for name in PROJECTIONS
    )
    bias = windows.bias([captured.form.bias for captured in captures], first.query)
    return Captured(query, key, value, replace(first.form, bias=bias), first.module)


def batched(captures: Sequence[Captured]) -> Captured:
    """Calls for single examples as one call for all."""
    first, *others = captures
    if not others:
        return first
    query, key, value = (
        torch.cat([getattr(captured, name) for captured in captures]) for name in PROJECTIONS
    )
    return Captured(query, key, value, first.form, first.module)


@contextmanager
def attention_action(action: Callable[[Captured], Tensor]) -> Iterator[None]:
    """What our attention function does, for the calls of this thread: captured in, u out."""
    token = current_action.set(action)
    try:
        yield
    finally:
        current_action.reset(token)


AttentionInterface.register(IMPLEMENTATION, _attention)
AttentionMaskInterface.register(IMPLEMENTATION, eager_mask)
