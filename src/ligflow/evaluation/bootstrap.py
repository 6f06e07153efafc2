"""Means over clusters, and how sure they are: a bootstrap over clusters that takes them one at a time.

The cells of one sentence are alike, so that sentences are drawn, not cells. In draw b sentence s counts
`w_sb` times, a Poisson number with mean 1 that depends on the seed and the sentence's number alone; the
draw's mean is `sum_s w_sb sum_s / sum_s w_sb count_s`. This is the Poisson bootstrap [chamandy2012]: it needs
each sentence once, in any order, and memory that does not grow with their number. All means share the draws,
so that differences of two means are paired.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Real

from ligflow.errors import LigflowError

LEVEL = 0.95
FEWEST = 100  # draws
_UNDEFINED = 0.25


@dataclass(frozen=True, eq=False)
class Sums:
    """Weighted sums and counts of every cell; row 0 counts each cluster once, the others are draws."""

    sums: Float[np.ndarray, "draw cell"]
    counts: Float[np.ndarray, "draw cell"]


def nothing(draws: int, cells: int) -> Sums:
    """Sums before the first cluster. Raises LigflowError for draws that are too few for an interval."""
    if draws < FEWEST:
        raise LigflowError(f"draws is {draws}; an interval takes at least {FEWEST}.")
    return Sums(np.zeros((draws + 1, cells)), np.zeros((draws + 1, cells)))


def weights(seed: int, clusters: Sequence[int], draws: int) -> Float[np.ndarray, "draw cluster"]:
    """How often each cluster counts: once in row 0, then `w_sb ~ Poisson(1)` in each draw [chamandy2012]."""
    weight = np.ones((draws + 1, len(clusters)))
    for column, cluster in enumerate(clusters):
        generator = np.random.Generator(np.random.Philox(key=[seed, cluster]))
        weight[1:, column] = generator.poisson(1.0, draws)
    return weight


def alike(sizes: Real[np.ndarray, " cluster"]) -> int:
    """How many clusters of one size vary as these do: `(sum_s m_s^2)^2 / sum_s m_s^4`, rounded down.

    A mean over rows is decided by the large clusters, and so is the estimate of how it varies, whose degrees
    of freedom these are, less one [satterthwaite1946]. 0 without rows.
    """
    squares = np.asarray(sizes, dtype=np.float64) ** 2
    return int(squares.sum() ** 2 / (squares**2).sum() + 1e-9) if squares.any() else 0


def add(
    before: Sums,
    weight: Float[np.ndarray, "draw cluster"],
    sums: Float[np.ndarray, "cluster cell"],
    counts: Float[np.ndarray, "cluster cell"],
) -> None:
    """Adds `sum_s w_sb sum_s` and `sum_s w_sb count_s` of more clusters, in place."""
    before.sums[...] += weight @ sums
    before.counts[...] += weight @ counts


def means(totals: Sums) -> Float[np.ndarray, "draw cell"]:
    """The mean of every cell in every draw, `sum_s w_sb sum_s / sum_s w_sb count_s`; NaN if none count."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(totals.counts > 0, totals.sums / totals.counts, np.nan)


def interval(
    draws: Float[np.ndarray, "draw cell *cells"],
) -> tuple[Float[np.ndarray, "cell *cells"], Float[np.ndarray, "cell *cells"]]:
    """The middle 95% of the draws that are defined; NaN where over a quarter is not.

    A draw without any cluster has no mean. Of one cluster 37% of the draws are like that, of two 14%: one
    cluster says nothing of how clusters vary, and gets no interval.
    """
    unknown = np.isnan(draws)
    edges = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    if not unknown.any():
        low, high = np.quantile(draws, edges, axis=0)
        return low, high
    rare = unknown.mean(axis=0) > _UNDEFINED
    low, high = np.nanquantile(np.where(rare, 0.0, draws), edges, axis=0)
    return np.where(rare, np.nan, low), np.where(rare, np.nan, high)
