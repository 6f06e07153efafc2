"""The two ratio corrections of an `itb` row, whose self term is 0 by definition (the paper's columns)."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def zero_ratio(
    itb: Float[Tensor, "target *head source"],
    zero: Float[Tensor, "target *head source"],
    targets: Int[Tensor, " target"],
) -> Float[Tensor, "target *head source"]:
    """`itb_zero_ratio`: the self term an `itb` row lacks, estimated from the `zero` row.

    `est = o_j (sum_{k!=j} c_k) / (sum_{k!=j} o_k)` at j, then the row is rescaled to its old
    sum; the self share becomes `o_j / sum_k o_k`. A share above 1 flips the signs of the others.
    """
    return with_self_share(itb, self_share(zero, targets), targets)


def self_share(
    row: Float[Tensor, "target *head source"], targets: Int[Tensor, " target"]
) -> Float[Tensor, "target *head"]:
    """What a target gives itself, over its row's sum (0 where that is 0)."""
    return _ratio(_diagonal(row, targets), row.sum(-1))


def map_ratio(
    itb: Float[Tensor, "target *head source"],
    attention: Float[Tensor, "target *head source"],
    targets: Int[Tensor, " target"],
) -> Float[Tensor, "target *head source"]:
    """`itb_map_ratio`: as `zero_ratio`, with `est = (sum_{k!=j} c_k) alpha_jj / (1 - alpha_jj)`.

    The self share becomes the attention weight `alpha_jj`.
    """
    return with_self_share(itb, _diagonal(attention, targets), targets)


def with_self_share(
    column: Float[Tensor, "target *head source"],
    share: Float[Tensor, "target *head"],
    targets: Int[Tensor, " target"],
) -> Float[Tensor, "target *head source"]:
    """Give the target itself `share` of the row's sum, and the others the rest in proportion."""
    total = column.sum(-1)
    out = column * (1 - share)[..., None]
    index = _self_index(column, targets)
    return out.scatter(-1, index, (share * total)[..., None])


def _diagonal(
    column: Float[Tensor, "target *head source"], targets: Int[Tensor, " target"]
) -> Float[Tensor, "target *head"]:
    return column.gather(-1, _self_index(column, targets)).squeeze(-1)


def _self_index(column: Tensor, targets: Tensor) -> Tensor:
    shape = (len(targets),) + (1,) * (column.ndim - 1)
    return targets.reshape(shape).expand(*column.shape[:-1], 1)


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    return torch.where(whole == 0, 0, part / torch.where(whole == 0, 1, whole))
