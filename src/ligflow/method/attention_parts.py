"""What a source adds to an attention's output, in parts: what was read, where it was found, what was asked.

With queries, keys and values at a point of a path, their derivatives q', k', v' along it, weights p, the soft
cap's slope c, the scale s and a cotangent `g = dL/du_j`, let

    κ_k = s c_k q_j.k'_k      how the source's key moves its score
    χ_k = s c_k q'_j.k_k      how the target's query moves it
    x_k = g.v_k               what the source is worth

With `P = Σ_k p_k` (1, unless a sink takes a part) and `<y> = Σ_k p_k y_k / P`,

    value_k  = p_k g.v'_k
    key_k    = p_k (x_k - <x>) (κ_k - <κ>) + (1 - P) p_k <x> κ_k
    query_k  = p_k (x_k - <x>) (χ_k - <χ>) + (1 - P) p_k <x> χ_k

A softmax does not change where all scores move alike, so that this common move <κ> is taken out of the keys'
part, and <χ> out of the queries'. What is taken out sums to 0 over the sources: `Σ_k key_k` and `Σ_k query_k`
are what keys and the query do. Where a sink takes a part, a common move is a move against the sink; that is
each source's own in the second terms.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ligflow.method.attention import Weights, dot

PARTS = ("value", "key", "query")


@dataclass(frozen=True, eq=False)
class AttentionParts:
    """Derivatives of L along the path by source, in parts, and the keys' common move, which sums to 0."""

    value: Float[Tensor, "batch head target source"]
    key: Float[Tensor, "batch head target source"]
    query: Float[Tensor, "batch head target source"]
    common: Float[Tensor, "batch head target source"]

    @property
    def stacked(self) -> Float[Tensor, "part batch head target source"]:
        """Value, key and query, in this order (`PARTS`)."""
        return torch.stack([self.value, self.key, self.query])

    @property
    def every(self) -> Float[Tensor, "all batch head target source"]:
        """Value, key, query and the keys' common move: all that the sum by source is made of."""
        return torch.stack([self.value, self.key, self.query, self.common])

    @property
    def sources(self) -> Float[Tensor, "batch head target source"]:
        """`dL/dt_k`: what moves with the source, its value and its key, nothing taken out."""
        return self.value + self.key + self.common

    @property
    def own(self) -> Float[Tensor, "batch head target"]:
        """`dL/dt_q`: what moves with the target's query."""
        return self.query.sum(-1)


def attention_parts(
    weights: Weights,
    pull: Float[Tensor, "batch head target value_dim"],
    query: Float[Tensor, "batch head target dim"],
    key: Float[Tensor, "batch group source dim"],
    value: Float[Tensor, "batch group source value_dim"],
    steps: tuple[Tensor, Tensor, Tensor],
    scaling: float,
) -> AttentionParts:
    """The parts for a cotangent `pull = dL/du`; `steps` are the derivatives q', k', v' along the path."""
    query_step, key_step, value_step = steps
    slope = scaling if weights.slope is None else scaling * weights.slope
    worth = dot(pull, value)
    by_key, by_query = slope * dot(query, key_step), slope * dot(query_step, key)
    return of_scores(weights.p, worth, weights.p * dot(pull, value_step), by_key, by_query)


def of_scores(
    p: Float[Tensor, "... source"],
    worth: Float[Tensor, "... source"],
    read: Float[Tensor, "... source"],
    by_key: Float[Tensor, "... source"],
    by_query: Float[Tensor, "... source"],
) -> AttentionParts:
    """The parts from weights p, worths x, the value's part, and moves κ and χ of scores."""
    mass = p.sum(-1, keepdim=True)

    def mean(of: Tensor) -> Tensor:
        return (p * of).sum(-1, keepdim=True) / mass.clamp(min=torch.finfo(p.dtype).tiny)

    middle = mean(worth)
    among, beside = p * (worth - middle), (1 - mass) * p * middle
    common = among * mean(by_key)
    return AttentionParts(
        read,
        among * (by_key - mean(by_key)) + beside * by_key,
        among * (by_query - mean(by_query)) + beside * by_query,
        common,
    )
