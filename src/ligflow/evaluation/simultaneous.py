"""Intervals that hold for many values at once, and which of them may be the best, from a bootstrap's draws.

Of many values some lie far from the truth by chance, and the best of them looks better than it is. Here `D_c`
is a value, `D*_cb` the same in draw b, `s_c` the standard deviation of the draws, and `q` is such that
`max_c |D*_cb - D_c| / s_c <= q` in 95% of the draws: the max-t of simultaneous intervals [montielolea2019],
which knows how values depend on each other. Since `s_c` is itself an estimate, of n clusters in B draws, it
grows by `sqrt(n / (n - 1))`, and each deviation is divided by the root of a chi-squared over its degrees of
freedom, `1 / (1 / (n - 1) + 1 / (B - 1))`, which makes a t of a normal deviation: exact for independent
values, cautious for dependent ones.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float

from ligflow.evaluation.bootstrap import LEVEL

_UNDEFINED = 0.25  # of the draws: with more of them there is no interval


@dataclass(frozen=True, eq=False)
class WithBest:
    """For each candidate an interval of how much better it is than the best of the *others*.

    `may_be` marks those that may be the best: with 95% the truly best is among them, whichever it is.
    Without intervals (NaN) all that have a value may be.
    """

    low: Float[np.ndarray, " candidate"]
    high: Float[np.ndarray, " candidate"]
    may_be: Bool[np.ndarray, " candidate"]


def simultaneous_interval(
    draws: Float[np.ndarray, "draw *cell"], clusters: int
) -> tuple[Float[np.ndarray, "*cell"], Float[np.ndarray, "*cell"]]:
    """Both ends `D_c -+ q s_c` of intervals that hold all at once with 95% [montielolea2019].

    Row 0 of the draws is the values themselves. NaN for a value that over a quarter of the draws lacks, and
    for all where over a quarter lacks any of the others, or there is one cluster alone.
    """
    flat = draws.reshape(len(draws), -1)
    low, high = np.full((2, flat.shape[1]), np.nan)
    known = _often_defined(flat)
    complete = _complete(flat[:, known], clusters)
    if complete is not None and known.any():
        errors = _errors(complete, clusters)
        reach = _reach(np.abs(_deviations(complete, errors, clusters)).max(axis=1)) * errors
        low[known], high[known] = flat[0, known] - reach, flat[0, known] + reach
    return low.reshape(draws.shape[1:]), high.reshape(draws.shape[1:])


def with_best(
    draws: Float[np.ndarray, "draw candidate"], clusters: int, lower_is_better: bool = False
) -> WithBest:
    """Each candidate held against the best of the others: Hsu's multiple comparisons with the best.

    Candidate i may be the best if `D_ij + q_i s_ij >= 0` for all j, where `D_ij` is how much better it is
    than j and `q_i` that of its own comparisons, one-sided [edwards1983]; intervals are Hsu's constrained
    ones [hsu1984]. All hold if the truly best one's comparisons do: nothing is lost to the choice of a best.
    """
    low, high = np.full((2, draws.shape[1]), np.nan)
    may_be, known = ~np.isnan(draws[0]), _often_defined(draws)
    complete = _complete(-draws[:, known] if lower_is_better else draws[:, known], clusters)
    if complete is not None and known.sum() > 1:
        low[known], high[known], may_be[known] = _constrained(complete, clusters)
    return WithBest(low, high, may_be)


def _constrained(draws: np.ndarray, clusters: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hsu's intervals of each candidate less the best of the others, and which may be the best."""
    gaps = draws[:, :, None] - draws[:, None, :]
    errors = _errors(gaps, clusters)
    reach = _reach((-_deviations(gaps, errors, clusters)).max(axis=2))[:, None] * errors
    least, most = gaps[0] - reach.T, gaps[0] + reach  # by the rival's reach, and by one's own
    itself = np.eye(len(reach), dtype=bool)
    most = np.where(itself, np.inf, most).min(axis=1)
    may_be = most >= 0
    rivals = np.where(itself | ~may_be[None, :], np.inf, least).min(axis=1)
    alone = may_be & (may_be.sum() == 1)
    return np.where(alone, 0.0, rivals), np.maximum(most, 0.0), may_be


def _often_defined(draws: np.ndarray) -> np.ndarray:
    """The cells that have a value, and have one in three quarters of the draws."""
    return ~np.isnan(draws[0]) & (np.isnan(draws[1:]).mean(axis=0) <= _UNDEFINED)


def _complete(draws: np.ndarray, clusters: int) -> np.ndarray | None:
    """Row 0 and the draws in which all is defined; None where these, or the clusters, are too few."""
    defined = ~np.isnan(draws).any(axis=1)
    enough = clusters > 1 and 1 - defined[1:].mean() <= _UNDEFINED
    return draws[defined] if enough else None


def _errors(draws: np.ndarray, clusters: int) -> np.ndarray:
    return draws[1:].std(axis=0) * np.sqrt(clusters / (clusters - 1))


def _deviations(draws: np.ndarray, errors: np.ndarray, clusters: int) -> np.ndarray:
    """How far each draw is from the value, in standard errors that are estimates; 0 for what never varies."""
    steady = np.divide(draws[1:] - draws[0], errors, out=np.zeros_like(draws[1:]), where=errors > 0)
    return steady / _unsure(steady.shape, 1 / (1 / (clusters - 1) + 1 / (len(steady) - 1)))


@lru_cache(maxsize=2)
def _unsure(shape: tuple[int, ...], degrees: float) -> np.ndarray:
    """By how much a standard error is off, drawn: `sqrt(chi2 / degrees)`, the same for each call."""
    return np.sqrt(np.random.default_rng(0).chisquare(degrees, shape) / degrees)


def _reach(largest: Float[np.ndarray, "draw *cell"]) -> np.ndarray:
    """The 95% quantile of the largest deviations of the draws."""
    return np.asarray(np.quantile(largest, LEVEL, axis=0))
