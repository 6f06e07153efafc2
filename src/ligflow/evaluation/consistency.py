"""How well two maps of a layer agree, row by row (a row is a target; the paper's columns).

`d` is the direct row and `c` the row compared with it, over the sources that the target can see. Rows
that did not move have nothing to share out, so that what is relative to them is not defined (NaN).

| metric | formula | better |
|---|---|---|
| `l2` | `||c - d||`, the paper's; in the unit of the maps, and small for maps of small magnitude | low |
| `relative_l2` | `||c - d|| / ||d||`; of a sentence's map in a layer at once in reports | low |
| `normalised_l2` | `||c / sum|c| - d / sum|d| ||` | low |
| `pearson` | correlation over sources; needs three of them | high |
| `spearman` | the same of their ranks, ties at their average rank | high |
| `top_k` | share of the k sources of largest magnitude that both rows have; needs more than k | high |

By hand, since those of scipy and torchmetrics know no hidden sources, no many maps at once, and no rows that
are even.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

METRICS = ("l2", "relative_l2", "normalised_l2", "pearson", "spearman", "top_k")
LOWER_IS_BETTER = ("l2", "relative_l2", "normalised_l2")
_FEWEST = 3  # two points correlate perfectly, whatever they are
_EVEN = 1e-12  # a row that varies by less than this share of itself is a row of equal values


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of maps over the sources that count, in float64, with what every comparison asks of them.

    `shares` are the values over the sum of their sizes; `centred` and `ranks` have a mean of 0.
    """

    values: Float[Tensor, "*map target source"]
    shares: Float[Tensor, "*map target source"]
    centred: Float[Tensor, "*map target source"]
    ranks: Float[Tensor, "*map target source"]
    strongest: Bool[Tensor, "*map target source"]


def rows_of(
    maps: Float[Tensor, "*map target source"],
    compared: Bool[Tensor, "*#map target source"],
    top_k: int = 3,
) -> Rows:
    """The rows of maps, of which only the sources in `compared` count."""
    values = torch.where(compared, maps.double(), 0.0)
    ranks = _centred(_ranks(values, compared), compared)
    strongest = _strongest(values, compared, top_k)
    return Rows(values, _of_its_size(values), _centred(values, compared), ranks, strongest)


def agreement(
    direct: Float[Tensor, "*#map target source"],
    other: Float[Tensor, "*#map target source"],
    compared: Bool[Tensor, "*#map target source"],
    still: Bool[Tensor, "*#map target"],
    top_k: int = 3,
) -> dict[str, Float[Tensor, "*map target"]]:
    """Every metric for every row, in float64; leading axes broadcast.

    `compared` marks the sources that count (the others are as if they were not there), `still` the rows
    of which one did not move: only their `l2` is defined.
    """
    ours, theirs = (rows_of(maps, compared, top_k) for maps in (direct, other))
    return agreement_of_rows(ours, theirs, compared.sum(dim=-1), still, top_k)


def agreement_of_rows(
    direct: Rows,
    other: Rows,
    sources: Int[Tensor, "*#map target"],
    still: Bool[Tensor, "*#map target"],
    top_k: int = 3,
) -> dict[str, Float[Tensor, "*map target"]]:
    """The same of rows at hand; `sources` is how many sources count in each."""
    gap = (other.values - direct.values).norm(dim=-1)
    shared = (other.strongest & direct.strongest).sum(dim=-1).double() / top_k
    metrics = {
        "l2": gap,
        "relative_l2": _ratio(gap, direct.values.norm(dim=-1)),
        "normalised_l2": (other.shares - direct.shares).norm(dim=-1),
        "pearson": _correlation(other.centred, direct.centred, sources),
        "spearman": _correlation(other.ranks, direct.ranks, sources),
        "top_k": torch.where(sources <= top_k, torch.nan, shared),
    }
    return {
        name: value if name == "l2" else value.masked_fill(still, torch.nan)
        for name, value in metrics.items()
    }


def spearman(
    maps: Float[Tensor, "*#map target source"],
    others: Float[Tensor, "*#map target source"],
    compared: Bool[Tensor, "*#map target source"],
) -> Float[Tensor, "*map target"]:
    """Rank correlation of every row over the sources that count; NaN where they are under three, or even.

    `<r - mean r, s - mean s> / (||r - mean r|| ||s - mean s||)` of ranks r and s, ties at their average rank.
    """
    first, second = (
        _centred(_ranks(torch.where(compared, row, 0.0), compared), compared) for row in (maps, others)
    )
    return _correlation(first, second, compared.sum(dim=-1))


def shuffled_rows(
    maps: Float[Tensor, "*map target source"],
    compared: Bool[Tensor, "*#map target source"],
    generator: torch.Generator,
) -> Float[Tensor, "*map target source"]:
    """The maps with the compared sources of each row in random order; one order a row of `compared`."""
    drawn = torch.rand(compared.shape, generator=generator, dtype=torch.float64, device=generator.device)
    order = drawn.masked_fill(~compared, 2.0).argsort(dim=-1)  # compared sources at random, then the rest
    places = (~compared).to(torch.uint8).argsort(dim=-1, stable=True)  # compared sources in order
    order, places = (one.expand(maps.shape) for one in (order, places))
    return maps.scatter(-1, places, maps.gather(-1, order))


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    return torch.where(whole == 0, torch.nan, part / torch.where(whole == 0, 1, whole))


def _of_its_size(row: Tensor) -> Tensor:
    return _ratio(row, row.abs().sum(dim=-1, keepdim=True))


def _correlation(c: Tensor, d: Tensor, sources: Tensor) -> Tensor:
    """The correlation of centred rows."""
    correlation = _ratio((c * d).sum(dim=-1), c.norm(dim=-1) * d.norm(dim=-1)).clamp(-1, 1)
    return torch.where(sources < _FEWEST, torch.nan, correlation)


def _centred(row: Tensor, compared: Tensor) -> Tensor:
    mean = row.sum(dim=-1, keepdim=True) / compared.sum(dim=-1, keepdim=True).clamp(min=1)
    centred = torch.where(compared, row - mean, 0.0)
    even = centred.norm(dim=-1, keepdim=True) <= _EVEN * row.norm(dim=-1, keepdim=True)
    return torch.where(even, 0.0, centred)


def _ranks(row: Tensor, compared: Tensor) -> Tensor:
    """Ranks from 1 among the compared sources, 0 for the others."""
    kept = torch.where(compared, row, torch.inf).contiguous()
    ordered = kept.sort(dim=-1).values.contiguous()
    below, up_to = (torch.searchsorted(ordered, kept, right=right) for right in (False, True))
    return torch.where(compared, (below + up_to + 1).double() / 2, 0.0)


def _strongest(row: Tensor, compared: Tensor, top_k: int) -> Tensor:
    """Marks the k sources of largest magnitude; among equals the first."""
    size = torch.where(compared, row.abs(), -1.0)
    order = size.argsort(dim=-1, descending=True, stable=True)[..., :top_k]
    return torch.zeros_like(size, dtype=torch.bool).scatter(-1, order, True)
