"""Attention weights in the form of a flow, for the page and tables: weights, which are no contributions."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ligflow.errors import LigflowError
from ligflow.results.flow_data import CELL_PARTS, AnyFlow, FlowData

_ROUNDING = 1e-2  # of half precision
NOTE = (
    "these are attention weights: how a head spreads its attention, not what reaches it; a token with a "
    "large weight may contribute nothing, and none says for or against"
)


def flow_of_attentions(
    attentions: Sequence[Float[Tensor, "*one head target source"]],
    tokens: Sequence[str],
    special: Sequence[bool] | None,
    kind: type[AnyFlow],
) -> AnyFlow:
    """A flow whose `z2u` are attention weights, `[layer, head, target, source]`, as one model run gives them.

    Nothing is certified of weights: totals are the sums of their rows, and every residue is 0. Raises
    LigflowError for layers that do not fit together or to the tokens, and for what is no weight.
    """
    names = [str(token) for token in tokens]
    marks = [False] * len(names) if special is None else [bool(mark) for mark in special]
    if not names or len(marks) != len(names):
        raise LigflowError(
            f"There are {len(names)} tokens and {len(marks)} marks of special ones; give as many."
        )
    weights = torch.stack(_layers(attentions, len(names)))
    totals = weights.sum(-1)
    cells = {part: torch.zeros_like(totals) for part in CELL_PARTS} | {
        "total": totals,
        "scale": totals.clamp_min(1e-12),
    }
    cells["met"] = torch.ones_like(totals, dtype=torch.bool)
    layers, heads, count, _ = weights.shape
    tensors = {"z2u": weights, "z2u.floor": weights.new_zeros(layers, heads)}
    tensors |= {f"z2u.{part}": tensor for part, tensor in cells.items()}
    tensors["z2u.nodes"] = torch.zeros(layers, count, dtype=torch.int64)
    return kind(
        tokens=names,
        layers=tuple(range(layers)),
        targets=tuple(range(count)),
        special=tuple(marks),
        tensors=tensors,
        meta={"text": "".join(names), "model": "attention weights", "notes": [NOTE], "measure": "attention"},
    )


def is_attention(flow: FlowData) -> bool:
    """Whether a flow's numbers are attention weights, and no contributions."""
    return flow.meta.get("measure") == "attention"


def _layers(attentions: Sequence[Tensor], count: int) -> list[Float[Tensor, "head target source"]]:
    """The weights of each layer, of one example."""
    layers = [torch.as_tensor(layer).detach().to("cpu", torch.float32) for layer in attentions]
    layers = [layer[0] if layer.ndim == 4 and len(layer) == 1 else layer for layer in layers]
    shapes = {tuple(layer.shape) for layer in layers}
    if len(shapes) != 1 or len(shape := next(iter(shapes))) != 3 or shape[1:] != (count, count):
        raise LigflowError(
            f"Attention weights are one tensor a layer, [1, heads, {count}, {count}] for {count} tokens, and "
            f"these have the shapes {sorted(shapes)}; take one example of a batch, without its padding."
        )
    if not all(bool(((layer >= 0) & (layer <= 1 + _ROUNDING)).all()) for layer in layers):
        raise LigflowError(
            "Attention weights are from 0 to 1, and some of these are less, more or no numbers. "
            "Scores before the softmax, and contributions, are no weights."
        )
    return layers
