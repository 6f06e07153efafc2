"""The two ratio corrections of an `itb` row (the paper's column), whose self term is 0 by definition.

Either gives the target itself a share s_j of the row's sum and the other sources the rest in proportion,
`c'_j = s_j sum_k c_k`, `c'_k = (1 - s_j) c_k`, so that the row keeps its sum, and so its certificate
([suzuki2026], section 3).
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ligflow.method.baselines import Baseline, Correction, Itb, Start, Zero


class _Corrected(Baseline):
    """`itb`, with a correction of its rows."""

    @property
    def path(self) -> Baseline:
        """The rows that are corrected are those of `itb`."""
        return Itb()

    def start(self, z: Float[Tensor, "token dim"], visible: Int[Tensor, " visible"]) -> Start:
        """That of `itb`."""
        return self.path.start(z, visible)


@dataclass(frozen=True)
class ItbZeroRatio(_Corrected):
    """The self term is estimated from the row o of `zero`: `o_j (sum_{k!=j} c_k) / (sum_{k!=j} o_k)`.

    The self share is then `s_j = o_j / sum_k o_k`; one above 1 flips the signs of the others.
    """

    name = "itb_zero_ratio"

    @property
    def correction(self) -> Correction:
        """Reads the row of `zero`."""
        return ShareOfRow(Zero())


@dataclass(frozen=True)
class ItbMapRatio(_Corrected):
    """The self term is estimated from the attention: `(sum_{k!=j} c_k) alpha_jj / (1 - alpha_jj)`.

    The self share is then the attention weight `s_j = alpha_jj`.
    """

    name = "itb_map_ratio"

    @property
    def correction(self) -> Correction:
        """Reads the attention weights."""
        return ShareOfWeights()


@dataclass(frozen=True)
class ShareOfRow:
    """What a target gives itself in the row o of another baseline, `s_j = o_j / sum_k o_k`."""

    reference: Baseline

    def self_share(
        self, row: Float[Tensor, "target *head source"], targets: Int[Tensor, " target"]
    ) -> Float[Tensor, "target *head"]:
        """`o_j / sum_k o_k`."""
        return self_share(row, targets)


@dataclass(frozen=True)
class ShareOfWeights:
    """A target's attention weight on itself, `s_j = alpha_jj`."""

    reference: ClassVar[None] = None

    def self_share(
        self, row: Float[Tensor, "target *head source"], targets: Int[Tensor, " target"]
    ) -> Float[Tensor, "target *head"]:
        """`alpha_jj`."""
        return _diagonal(row, targets)


def self_share(
    row: Float[Tensor, "target *head source"], targets: Int[Tensor, " target"]
) -> Float[Tensor, "target *head"]:
    """What a target gives itself, over its row's sum: `c_jj / sum_k c_jk` (0 where that is 0)."""
    return _ratio(_diagonal(row, targets), row.sum(-1))


def with_self_share(
    column: Float[Tensor, "target *head source"],
    share: Float[Tensor, "target *head"],
    targets: Int[Tensor, " target"],
) -> Float[Tensor, "target *head source"]:
    """Give the target itself a share of its row's sum, and the others the rest in proportion.

    `c'_jj = s_j sum_k c_jk` and `c'_jk = (1 - s_j) c_jk`, for a row that gives the target nothing.
    """
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
