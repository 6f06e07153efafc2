"""What a head carries from source to target: its relevance at a target, by what it read.

    e[h, j, k] = m_u[j, h] . ∫ J_jk(z(a)) da Δz_k        Σ_k e[h, j, k] = m_u[j, h] . Δu_j^h

With queries, keys and values at a point of the path, their derivatives q', k', v' along it, weights p, scores
`s q_j . k_k` and `g = m_u[j, h]`, the integrand is in closed form

    p_jk g.v'_k + w_jk s q_j.k'_k + [j = k] Σ_l w_jl s q'_j.k_l,     w_jk = p_jk (g.v_k - Σ_l p_jl g.v_l)

The right side of the sum is known, so that what the points miss shows, by head and target.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ligflow.errors import UnsupportedModel
from ligflow.layer.captured_path import CapturedPath
from ligflow.layer.layer import Layer
from ligflow.method.attention import Weights, attention_weights, dot
from ligflow.method.quadrature_rules import LEVELS, patterson_nodes, patterson_weights
from ligflow.prediction.segment import Variable

Edges = Float[Tensor, "head target source"]
_PANELS = 16  # parts of a path that is hard, each with the points of the finest rule


@dataclass(frozen=True, eq=False)
class HeadEdges:
    """Edges of one layer, and what they miss: `error` is the sum over heads and targets of the residues."""

    edges: Edges
    error: float
    points: int


def edges_of(
    layer: Layer,
    hidden: Variable,
    towards: Float[Tensor, "token head value_dim"],
    heads: Variable,
    allowance: float,
) -> HeadEdges:
    """The edges of a layer's heads for cotangents of what they give, at as many points as keep the allowance.

    Raises UnsupportedModel where a token has no query, key and value of its own.
    """
    if layer.mode != "split" or layer.findings.windows is not None:
        reason = layer.findings.reason or "its attention sees parts of the tokens"
        raise UnsupportedModel(f"Layer {layer.index} ({layer.name}) has no edges: {reason}.")
    sought = (towards.double() * heads.step.double()).sum(-1).T
    values: list[Tensor] = []
    result = HeadEdges(towards.new_zeros(0, 0, 0), torch.inf, 0)
    for level in range(2, LEVELS):
        nodes = torch.from_numpy((patterson_nodes(level) + 1) / 2)
        for node in nodes[len(values) :]:
            values.append(_integrand(layer, hidden, towards, node))
        weights = torch.from_numpy(patterson_weights(level) / 2)
        total = sum(weight * value for weight, value in zip(weights.tolist(), values, strict=True))
        result = _judged(total, sought, len(nodes))
        if result.error <= allowance:
            return result
    finer = _in_parts(layer, hidden, towards, sought)
    return finer if finer.error < result.error else result


def held_edges(
    layer: Layer, hidden: Variable, towards: Float[Tensor, "token head value_dim"], weights: Weights
) -> HeadEdges:
    """The edges of heads whose weights are held: `e[h, j, k] = p_jk m_u[j, h] . Δv_k`, exact."""
    with torch.no_grad():
        value = layer.capture(torch.stack([hidden.reference, hidden.real])).value
        read = dot(towards.transpose(0, 1)[None], value[1:] - value[:1])
        return HeadEdges((weights.p * read)[0].double().cpu(), 0.0, 1)


def _in_parts(layer: Layer, hidden: Variable, towards: Tensor, sought: Tensor) -> HeadEdges:
    nodes = torch.from_numpy((patterson_nodes(LEVELS - 1) + 1) / 2)
    weights = patterson_weights(LEVELS - 1) / 2 / _PANELS
    total = torch.zeros(())
    for part in range(_PANELS):
        for weight, node in zip(weights.tolist(), (nodes + part) / _PANELS, strict=True):
            total = total + weight * _integrand(layer, hidden, towards, node)
    return _judged(total, sought, _PANELS * len(nodes))


def _judged(total: Tensor | int, sought: Float[Tensor, "head target"], points: int) -> HeadEdges:
    assert isinstance(total, Tensor)
    error = float((total.sum(-1) - sought).abs().sum())
    return HeadEdges(total.cpu(), error, points)


def _integrand(layer: Layer, hidden: Variable, towards: Tensor, node: Tensor) -> Float[Tensor, "h j k"]:
    """The integrand at one point, in float64."""
    with torch.no_grad():
        path = layer.capture_path(hidden.at(node[None]), hidden.step[None])
        return _of_capture(path, towards.transpose(0, 1)[None])[0].double()


def _of_capture(
    path: CapturedPath, towards: Float[Tensor, "1 head target value_dim"]
) -> Float[Tensor, "1 head target source"]:
    at = path.at
    weights = attention_weights(at.query, at.key, at.form)
    read = weights.p * dot(towards, path.value_step)
    worth = dot(towards, at.value)
    slope = weights.p * (worth - (weights.p * worth).sum(-1, keepdim=True)) * at.form.scaling
    slope = slope if weights.slope is None else slope * weights.slope
    located = slope * dot(at.query, path.key_step)
    asked = (slope * dot(path.query_step, at.key)).sum(-1)
    return read + located + torch.diag_embed(asked)
