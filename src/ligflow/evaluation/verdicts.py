"""Verdicts that can come out either way: whether the best is one of those named, and what beats its control.

Each has a third outcome, that it cannot be told, and each is symmetric: what it takes to hold and what it
takes not to hold is the same with better and worse exchanged. Both rest on simultaneous intervals, so that
values of which none is better than another get one of the two decided outcomes in 5%, however many they are.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from ligflow.evaluation.simultaneous import simultaneous_interval

HOLDS, FAILS = "holds", "does not hold"
BETTER, WORSE = "better", "worse"
OPEN = "cannot be told"


def best_is_named(
    draws: Float[np.ndarray, "draw candidate"],
    named: Bool[np.ndarray, " candidate"],
    clusters: int,
    lower_is_better: bool = False,
) -> str:
    """Whether the best of all candidates is a named one: HOLDS, FAILS or OPEN.

    It holds if each of the others is surely worse than one of the named, and fails if each of the named is
    surely worse than one of the others: beyond intervals that are simultaneous over all pairs of a named
    and another. OPEN without any candidate of either kind that has a value.
    """
    known = ~np.isnan(draws[0])
    ours, others = draws[:, known & named], draws[:, known & ~named]
    if not ours.shape[1] or not others.shape[1]:
        return OPEN
    gaps = ours[:, :, None] - others[:, None, :]
    low, high = simultaneous_interval(-gaps if lower_is_better else gaps, clusters)
    if (low > 0).any(axis=0).all():
        return HOLDS
    return FAILS if (high < 0).any(axis=1).all() else OPEN


@dataclass(frozen=True, eq=False)
class Beside:
    """How much larger values are than those they are held against, with simultaneous intervals, and BETTER,
    WORSE or OPEN of each."""

    difference: Float[np.ndarray, "*cell"]
    low: Float[np.ndarray, "*cell"]
    high: Float[np.ndarray, "*cell"]
    outcome: np.ndarray


def beside(
    draws: Float[np.ndarray, "draw *cell"],
    controls: Float[np.ndarray, "draw *cell"],
    clusters: int,
    lower_is_better: bool = False,
) -> Beside:
    """Values less their controls, `D_c = v_c - w_c`, simultaneous over all that are held against one."""
    low, high = simultaneous_interval(draws - controls, clusters)
    names = (WORSE, BETTER) if not lower_is_better else (BETTER, WORSE)
    outcome = np.where(high < 0, names[0], np.where(low > 0, names[1], OPEN))
    return Beside(draws[0] - controls[0], low, high, outcome)
