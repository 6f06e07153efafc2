"""A head's weights in another order: how far its output moves, and whether a map moves with it.

Jain and Wallace 2019 put attention weights into random orders and found outputs that hardly moved. Here
for a head and a target: `u' = sum_k w_k v_k` with the weights `w` permuted among the sources.
"""

import numpy as np
import torch
from jaxtyping import Float
from scipy.stats import spearmanr
from torch import Tensor

from ligflow import Explainer
from ligflow.layer.layer import Layer
from ligflow.layer.model_state import prepared
from ligflow.method.attention import attention_weights

ORDERS, TARGETS = 50, 3


def permuted(explainer: Explainer, text: str) -> dict[str, np.ndarray]:
    """By layer and head, in the mean over targets: how far outputs move, and rank correlations with it."""
    generator = torch.Generator().manual_seed(0)
    each = [_of_layer(layer, generator) for layer in explainer.prepared.record(text)]
    return {f"permuted {name}": np.stack([layer[name] for layer in each]) for name in each[0]}


def _of_layer(layer: Layer, generator: torch.Generator) -> dict[str, np.ndarray]:
    with torch.no_grad(), prepared(layer.module, layer.implementation):
        seen = layer.capture(layer.hidden[None])
        p = attention_weights(seen.query, seen.key, seen.form).p[0].double()
        values = seen.value[0].repeat_interleave(len(p) // seen.value.shape[1], dim=0).double()
    count = p.shape[-1]
    targets = torch.linspace(1, count - 2, TARGETS).long().tolist()
    by_head = [
        [_of_row(row[target], value, target, generator) for target in targets]
        for row, value in zip(p, values, strict=True)
    ]
    names = by_head[0][0]
    return {name: np.array([np.mean([row[name] for row in rows]) for rows in by_head]) for name in names}


def _of_row(
    weights: Float[Tensor, " source"],
    values: Float[Tensor, "source dim"],
    target: int,
    generator: torch.Generator,
) -> dict[str, float]:
    orders = torch.stack([torch.randperm(len(weights), generator=generator) for _ in range(ORDERS)])
    every = torch.cat([weights[None], weights[orders]])
    output = every @ values
    moved = (output[1:] - output[0]).norm(dim=-1)
    maps = {"attention": every, "sizes": every * values.norm(dim=-1), "lig": _lig(every, values, target)}
    follows = {f"follows {name}": _correlation(_moves(each), moved) for name, each in maps.items()}
    follows["follows random"] = _correlation(torch.rand(ORDERS, generator=generator), moved)
    return {"moved": float((moved / output[0].norm()).median())} | follows


def _lig(
    weights: Float[Tensor, "order source"], values: Float[Tensor, "source dim"], target: int
) -> Float[Tensor, "order source"]:
    """LIG from the target itself, weights held: `w_k <v_k - v_j, d>`, `d` the direction of `u - v_j`.

    With weights held `u` is affine in the values, so the path from `v_j` to `u` is straight and `l2` has one
    direction; keys, which move weights, have no part.
    """
    differences = values - values[target]
    way = weights @ differences
    return (weights[..., None] * differences * (way / way.norm(dim=-1, keepdim=True))[:, None]).sum(-1)


def _moves(maps: Float[Tensor, "order source"]) -> Float[Tensor, " order"]:
    """How far each permuted map is from the first: `sum_k |a_k - b_k| / sum_k |b_k|`."""
    return (maps[1:] - maps[0]).abs().sum(-1) / maps[0].abs().sum()


def _correlation(one: Tensor, other: Tensor) -> float:
    return float(spearmanr(one.numpy(), other.numpy()).statistic)
