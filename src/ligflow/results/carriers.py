"""Through which heads relevance is handed down a layer, and how much passes attention."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ligflow.results.flow_data import FlowData


def carried(
    flow: FlowData, layer: int, relevance: Float[Tensor, " token"], still: Bool[Tensor, " token"]
) -> Float[Tensor, " carrier"]:
    """`sum_j R_j sum_k E_hkj / total_j` of each head, and last of what passes attention: `sum_j R_j` in all.

    What is left with a token that did not move (`still`) passes attention. Raises LigflowError for a flow
    without z2z by head.
    """
    row, targets = flow.row(layer), torch.tensor(flow.targets, dtype=torch.int64, device="cpu")
    heads = flow.z2z_heads[row].double().sum(-1)
    parts = torch.cat([heads, flow.z2z_residual[row].double()[None]])
    kept = still[targets]
    shares = torch.where(kept, 0, parts / torch.where(kept, 1, flow.z2z[row].double().sum(-1)))
    shares[-1] += kept
    return shares @ relevance[targets]
