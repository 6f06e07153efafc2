"""Where a head routes: the share of each row's magnitude that goes to a kind of place, beside chance.

A row of `z2u` becomes shares `|A_kj| / sum_k |A_kj|`. A kind of place (the previous token, the syntactic
head, ...) is a relation of targets and sources; its mass in a row is the sum of the shares of its sources. If
the row's values stood in random order among the sources that the target sees, the mass would be, on average,
the kind's part of these sources: this is the exact mean over all permutations. Kinds are those that attention
weights were asked about [clark2019], and more.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

KINDS = (
    "self", "previous", "next", "first", "separator", "punctuation", "same word", "head", "dependent",
)  # fmt: skip


def shares(z2u: Float[Tensor, "layer head target source"]) -> Float[Tensor, "layer head target source"]:
    """Magnitudes over their row's sum, `|A_kj| / sum_i |A_ij|`; NaN for a row that did not move."""
    size = z2u.abs()
    return size / size.sum(-1, keepdim=True)


def mass(
    share: Float[Tensor, "layer head target source"], relation: Bool[Tensor, "kind target source"]
) -> Float[Tensor, "layer head kind target"]:
    """The share of each row that goes to sources of each kind, `sum_{k of the kind} s_kj`."""
    return torch.einsum("lhts,kts->lhkt", share, relation.to(share))


def chance(
    relation: Bool[Tensor, "kind target source"], visible: Bool[Tensor, "target source"]
) -> Float[Tensor, "kind target"]:
    """The mean mass over all orders of a row's values, `n_kind / n`; NaN where none of the kind is seen."""
    count = (relation & visible).sum(-1).double()
    return torch.where(count > 0, count / visible.sum(-1), torch.nan)


def entropy(
    share: Float[Tensor, "layer head target source"], visible: Bool[Tensor, "target source"]
) -> Float[Tensor, "layer head target"]:
    """How spread a row is, `-sum_k s_k log s_k / log n`: 0 for one source, 1 for an even row.

    NaN where the target sees one source alone.
    """
    count = visible.sum(-1).double()
    spread = -torch.xlogy(share, share).sum(-1)
    return torch.where(count > 1, spread / count.log(), torch.nan)


def distance(share: Float[Tensor, "layer head target source"]) -> Float[Tensor, "layer head target"]:
    """How many tokens away a row reads on average, `sum_k s_kj |k - j|`."""
    places = torch.arange(share.shape[-1], dtype=share.dtype, device=share.device)
    return torch.einsum("lhts,ts->lht", share, (places[None, :] - places[:, None]).abs())
