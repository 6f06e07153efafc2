"""Attention flow: how much could pass from a token through all layers, attention weights as capacities.

The tokens of every layer are the nodes of a graph, attention weights its edges. The flow of a source to a
target is the largest that passes from the target's node after the last layer down to the source's node before
the first one, other sources let alone. Abnar and Zuidema 2020.
"""

import numpy as np
import torch
from jaxtyping import Float
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_flow
from torch import Tensor

_UNIT = 2**24  # capacities are whole numbers of 1 / _UNIT


def attention_flow(maps: Float[Tensor, "layer token token"], target: int) -> Float[Tensor, " token"]:
    """The largest flow from a target after the last layer to each token before the first.

    `maps` hold capacities `[target, source]` of every layer in `[0, 1]`, the residual stream with them (see
    `ligflow.evaluation.rollout.with_residual`). Each flow is computed on its own, to 6e-8 of an edge.
    """
    tokens = maps.shape[-1]
    graph = _graph(maps)
    top = len(maps) * tokens + target
    flows = [maximum_flow(graph, top, source).flow_value for source in range(tokens)]
    return torch.tensor(flows, dtype=torch.float64) / _UNIT


def _graph(maps: Float[Tensor, "layer token token"]) -> csr_array:
    """Node `layer * token + k` is token k before that layer; edges run from targets down to sources."""
    count, tokens = len(maps), maps.shape[-1]
    capacities = (maps.detach().cpu().double() * _UNIT).round().numpy().astype(np.int32)
    layer, target, source = capacities.nonzero()
    edges = (capacities[layer, target, source], ((layer + 1) * tokens + target, layer * tokens + source))
    return csr_array(edges, shape=((count + 1) * tokens,) * 2)
