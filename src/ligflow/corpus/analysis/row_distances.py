"""How far two rows of maps are from each other: half the summed difference of their signed shares."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

_TINY = torch.finfo(torch.float64).tiny


def signed_shares(rows: Float[Tensor, "*map target source"]) -> Float[Tensor, "*map target source"]:
    """`a_k = A_k / sum_k |A_k|`; zeros where nothing moved."""
    return normalize(rows.double(), p=1.0, dim=-1, eps=_TINY)


def row_distances(
    a: Float[Tensor, "*map target source"], b: Float[Tensor, "*map target source"]
) -> Float[Tensor, "*map target"]:
    """`1/2 sum_k |a_k - b_k|` of signed shares; 1 where one of the rows alone moved."""
    alone = (a != 0).any(-1) != (b != 0).any(-1)
    return torch.where(alone, 1.0, (signed_shares(a) - signed_shares(b)).abs().sum(-1) / 2)
