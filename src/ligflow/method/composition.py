"""Attention and MLP maps composed into a map of the layer [suzuki2026]. Rows are targets, columns sources.

A composition is a small frozen object with a `name` and the `shares` of sources in what a head reads:
`C_ij = sum_h s_ijh M_hj`. A new one is one more class.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ligflow.errors import LigflowError


@dataclass(frozen=True, eq=False)
class HeadMaps:
    """What heads read and write: `A_ijh`, `M_hj` and `M_res,j`.

    `source_sum` is `sum_k A_kjh` over all sources, shown or not; a head whose sum is below `floor` did not
    move.
    """

    z2u: Float[Tensor, "layer head target source"]
    u2z: Float[Tensor, "layer head target"]
    residual: Float[Tensor, "layer target"]
    source_sum: Float[Tensor, "layer head target"]
    floor: Float[Tensor, "layer head target"]


Shares = tuple[Float[Tensor, "layer head target source"], Float[Tensor, "layer target"] | None]


@runtime_checkable
class Composition(Protocol):
    """How sources share in what heads write."""

    @property
    def name(self) -> str:
        """What it is called."""

    def shares(self, maps: HeadMaps) -> Shares:
        """`s_ijh`, and what stays with the target itself beside them; None where nothing does."""


@dataclass(frozen=True)
class Conserving:
    """`C_ij = sum_h (A_ijh / sum_k A_kjh) M_hj + [i = j] M_res,j`; sums over i to `sum M` exactly."""

    name = "conserving"

    def shares(self, maps: HeadMaps) -> Shares:
        """Of each head's sum (see `shared_out`); the residual stays with the target."""
        return shared_out(maps.z2u, maps.u2z, maps.residual, maps.source_sum, maps.floor)


@dataclass(frozen=True)
class Product:
    """The paper's rule `P_ij = sum_h A_ijh M_hj` ([suzuki2026], section on composition).

    Its sum over sources is `sum_h ||du_j^h|| M_hj`, a squared unit: it conserves nothing.
    """

    name = "product"

    def shares(self, maps: HeadMaps) -> Shares:
        """The attributions themselves."""
        return maps.z2u, None


COMPOSITIONS: dict[str, Composition] = {rule.name: rule for rule in (Conserving(), Product())}
NAMES = tuple(COMPOSITIONS)


def composition_rule(rule: str | Composition) -> Composition:
    """The composition of a name, or the caller's own as it is. Raises LigflowError for an unknown name."""
    if not isinstance(rule, str):
        return rule
    if rule not in COMPOSITIONS:
        raise LigflowError(f"Unknown composition {rule!r}; choose from {', '.join(NAMES)}.")
    return COMPOSITIONS[rule]


def compose(
    rule: Composition, maps: HeadMaps, targets: Int[Tensor, " target"]
) -> Float[Tensor, "layer target source"]:
    """`C_ij = sum_h s_ijh M_hj`, and at `i = j` what stays with the target."""
    shares, own = rule.shares(maps)
    composed = product(shares, maps.u2z)
    if own is not None:
        composed[:, torch.arange(len(targets), device=targets.device), targets] += own
    return composed


def product(
    shares: Float[Tensor, "layer head target source"], u2z: Float[Tensor, "layer head target"]
) -> Float[Tensor, "layer target source"]:
    """Shares times what is shared out, `P_ij = sum_h s_ijh M_hj`."""
    return torch.einsum("lhts,lht->lts", shares, u2z)


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
