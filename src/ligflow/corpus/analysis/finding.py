"""Whether the paper's finding holds: ATT itb with MLP att_itb_a0 or zero is the most consistent pair.

Each ranking, of one direct baseline under one metric, has a verdict of its own: the finding holds if every
pair that it does not name is surely worse than a pair that it names, does not hold if every pair that it
names is surely worse than another, and else it cannot be told.
"""

from dataclasses import dataclass

import numpy as np

from ligflow.corpus.analysis.estimates import Estimates, Pair
from ligflow.corpus.analysis.rankings import (
    Place,
    best_first,
    compared,
    draws_at,
    lower_is_better,
    places,
)
from ligflow.corpus.tables.schema import RULES
from ligflow.evaluation.simultaneous import simultaneous_interval
from ligflow.evaluation.verdicts import FAILS, HOLDS, best_is_named

NAMED = (("itb", "att_itb_a0"), ("itb", "zero"))
PAPER = "paper"  # raw L2 of the product rule, among the paper's own baselines
_ATT, _MLP = ("zero", "itb", "itb_zero_ratio", "itb_map_ratio"), ("zero", "att_itb_a0")


@dataclass(frozen=True)
class Verdict(Place):
    """The verdict of one ranking: `named` is the best of the pairs that the finding names, `other` the best
    of the rest, and `difference` how much better the first is, with its simultaneous interval. Where the
    verdict is decided, the better of the two is the one that the worse is most surely worse than."""

    ranking: str
    outcome: str
    named: Pair
    other: Pair
    difference: float
    low: float
    high: float


def verdicts(estimates: Estimates) -> list[Verdict]:
    """Of every ranking over all layers: that of the paper (raw L2, product), then all pairs by metric."""
    every = list(places(estimates))
    as_paper = [
        _verdict(estimates, PAPER, place, at, _of_paper(compared(estimates, at, ("product",))))
        for place, at in every
        if place.metric == "l2"
    ]
    ours = [
        _verdict(estimates, place.metric, place, at, compared(estimates, at, RULES)) for place, at in every
    ]
    return [row for row in (*as_paper, *ours) if row is not None]


def _of_paper(pairs: dict[Pair, int]) -> dict[Pair, int]:
    return {pair: n for pair, n in pairs.items() if pair[0] in _ATT and pair[1] in _MLP}


def _verdict(
    estimates: Estimates, ranking: str, place: Place, at: tuple[int, ...], pairs: dict[Pair, int]
) -> Verdict | None:
    """None where there is nothing to tell: no pair that is named, or no other."""
    names, lower = list(pairs), lower_is_better(place.metric)
    named = np.array([pair[:2] in NAMED for pair in names], dtype=bool)
    if named.all() or not named.any():
        return None
    draws = draws_at(estimates.draws, at, list(pairs.values()))
    ours, others = np.flatnonzero(named), np.flatnonzero(~named)
    gaps = (-1 if lower else 1) * (draws[:, ours][:, :, None] - draws[:, others][:, None, :])
    low, high = simultaneous_interval(gaps, estimates.clusters)
    outcome = best_is_named(draws, named, estimates.clusters, lower)
    first, second = _best(draws[0, ours], lower), _best(draws[0, others], lower)
    if outcome == HOLDS:  # the named one that the best other is most surely worse than
        first = int(np.nanargmax(low[:, second]))
    elif outcome == FAILS:  # the other one that the best named is most surely worse than
        second = int(np.nanargmin(high[first]))
    return Verdict(
        place.unit, place.diagonal, place.layer, place.direct, place.metric, ranking, outcome,
        names[ours[first]], names[others[second]], float(gaps[0, first, second]), float(low[first, second]),
        float(high[first, second]),
    )  # fmt: skip


def _best(values: np.ndarray, lower: bool) -> int:
    return int(best_first(values, lower)[0])
