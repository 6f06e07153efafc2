"""Models that pad by themselves (Longformer, BigBird): which of a layer's tokens were given."""

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Int
from torch import Tensor

from ligflow.layer.layer import Layer
from ligflow.recording.tolerances import max_token_error, rounding

_TOKENS = ("input_ids", "inputs_embeds")


def given_rows(
    inputs: Mapping[str, Tensor], first: Layer, again: Callable[[str, Tensor], Layer]
) -> Int[Tensor, " given"] | None:
    """Where the given tokens stand in a first layer that has more; None where it has as many, or none tells.

    `again(name, other)` is the layer on another input of that name. A token that changes moves its own row.
    """
    name = next((name for name in _TOKENS if name in inputs), None)
    if name is None or inputs[name].shape[0] != 1 or inputs[name].shape[1] >= len(first.hidden):
        return None
    after = again(name, _others(inputs[name])).hidden
    rows = (after != first.hidden).any(-1).nonzero()[:, 0]
    return rows if len(rows) == inputs[name].shape[1] else None


def _others(tokens: Tensor) -> Tensor:
    """Every token as another one, of the same text where that has several."""
    if tokens.is_floating_point():
        return -tokens
    kinds, which = tokens.unique(return_inverse=True)
    return kinds.roll(1)[which] if len(kinds) > 1 else (tokens - 1).abs()


def is_unseen(layer: Layer, rows: Int[Tensor, " given"]) -> bool:
    """Whether all tokens but these have no part in what the layer makes of these."""
    changed = -layer.hidden.flip(-1)
    changed[rows] = layer.hidden[rows]
    with torch.no_grad():
        before, after = (layer.forward(states[None])[0, rows] for states in (layer.hidden, changed))
    return max_token_error(after, before) <= rounding(before)
