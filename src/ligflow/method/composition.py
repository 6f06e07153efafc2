"""Attention and MLP maps composed into a map of the layer. Rows are targets, columns sources."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

NAMES = ("conserving", "product")


def product(
    z2u: Float[Tensor, "layer head target source"], u2z: Float[Tensor, "layer head target"]
) -> Float[Tensor, "layer target source"]:
    """The paper's rule `P_ij = sum_h A_ijh M_hj` ([suzuki2026], section on composition).

    Its sum over sources is `sum_h ||du_j^h|| M_hj`, a squared unit: it conserves nothing.
    """
    return torch.einsum("lhts,lht->lts", z2u, u2z)


def conserving(
    z2u: Float[Tensor, "layer head target source"],
    u2z: Float[Tensor, "layer head target"],
    residual: Float[Tensor, "layer target"],
    targets: Int[Tensor, " target"],
    source_sum: Float[Tensor, "layer head target"],
    floor: Float[Tensor, "layer head target"],
) -> Float[Tensor, "layer target source"]:
    """`C_ij = sum_h (A_ijh / sum_k A_kjh) M_hj + [i = j] M_res,j`; sums over i to `sum M` exactly.

    `source_sum` is `sum_k A_kjh`, `floor` as in `shared_out`.
    """
    shares, own = shared_out(z2u, u2z, residual, source_sum, floor)
    composed = product(shares, u2z)
    rows = torch.arange(len(targets), device=targets.device)
    composed[:, rows, targets] += own
    return composed


def shared_out(
    z2u: Float[Tensor, "layer head target source"],
    u2z: Float[Tensor, "layer head target"],
    residual: Float[Tensor, "layer target"],
    source_sum: Float[Tensor, "layer head target"],
    floor: Float[Tensor, "layer head target"],
) -> tuple[Float[Tensor, "layer head target source"], Float[Tensor, "layer target"]]:
    """The shares `A_ijh / sum_k A_kjh`, and what stays with the target itself.

    A head whose sum is below `floor` did not move: it has nothing to share out. Its shares are 0, and its M
    stays with the target, as the residual does.
    """
    still = source_sum.abs() <= floor
    shares = torch.where(still[..., None], 0, z2u / torch.where(still, 1, source_sum)[..., None])
    return shares, residual + torch.where(still, u2z, 0).sum(dim=1)
