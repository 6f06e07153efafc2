"""The pairs ranked for each direct baseline under each metric, and which of them may be the best.

All pairs share the draws of one bootstrap over sentences [chamandy2012]: differences are paired. A ranking's
best pair is the luckiest too, so that a pair is held against the best of all others by intervals that allow
for the choice [hsu1984].
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import product
from operator import attrgetter

import numpy as np
from jaxtyping import Float, Int

from ligflow.corpus.analysis.estimates import Estimates, Pair
from ligflow.corpus.tables.schema import DIRECT, RULES
from ligflow.evaluation.bootstrap import interval
from ligflow.evaluation.consistency import LOWER_IS_BETTER, METRICS
from ligflow.evaluation.simultaneous import with_best


@dataclass(frozen=True)
class Place:
    """What a ranking is of; `layer` is None for all layers together."""

    unit: str
    diagonal: bool
    layer: int | None
    direct: str
    metric: str

    def of(self, place: "Place") -> bool:
        """Whether it is of that place."""
        return _LABELS(self) == _LABELS(place)


_LABELS = attrgetter(*(field.name for field in fields(Place)))


@dataclass(frozen=True)
class Ranked(Place):
    """One pair under one metric, with a 95% interval of its mean.

    `difference` is how much better it is than the best of the other pairs that are ranked (negative: how
    much worse), with an interval that holds for all pairs of the ranking at once; `may_be_best` says that it
    is one of those of which, with 95%, one is truly the best.
    """

    att: str
    mlp: str
    rule: str
    rank: int
    mean: float
    low: float
    high: float
    difference: float
    difference_low: float
    difference_high: float
    may_be_best: bool
    rows: int
    undefined: int

    @property
    def pair(self) -> Pair:
        """Its baselines and rule."""
        return (self.att, self.mlp, self.rule)


def rank(estimates: Estimates, by_layer: bool = False, rules: Sequence[str] = RULES) -> list[Ranked]:
    """All pairs of some rules, best first within each unit, diagonal, layer, direct baseline and metric."""
    return [row for place, at in places(estimates, by_layer) for row in _ranked(estimates, place, at, rules)]


def places(estimates: Estimates, by_layer: bool = False) -> Iterator[tuple[Place, tuple[int, ...]]]:
    """What there is a ranking of, over all layers or by layer, and where it stands among the estimates."""
    whole = len(estimates.layers)
    layers = range(whole) if by_layer else [whole]
    for unit, diagonal, layer, direct, metric in product(
        range(len(estimates.units)), range(2), layers, range(len(DIRECT)), range(len(METRICS))
    ):
        number = None if layer == whole else estimates.layers[layer]
        place = Place(estimates.units[unit], diagonal == 0, number, DIRECT[direct], METRICS[metric])
        yield place, (unit, diagonal, layer, direct, metric)


def draws_at(
    draws: Float[np.ndarray, "draw unit diagonal layer direct other metric"],
    at: tuple[int, ...],
    others: Sequence[int],
) -> Float[np.ndarray, "draw chosen"]:
    """The draws of some of the others at one place."""
    unit, diagonal, layer, direct, metric = at
    return draws[:, unit, diagonal, layer, direct, :, metric][:, list(others)]


def compared(estimates: Estimates, at: tuple[int, ...], rules: Sequence[str] = RULES) -> dict[Pair, int]:
    """The pairs of some rules that are compared with the direct map of a place, and where each stands."""
    unit, diagonal, layer, direct, metric = at
    rows = estimates.cells + estimates.undefined
    found = {
        pair: estimates.others.index(("composed", *pair)) for pair in estimates.pairs if pair[2] in rules
    }
    return {pair: n for pair, n in found.items() if rows[unit, diagonal, layer, direct, n, metric]}


def lower_is_better(metric: str) -> bool:
    """Whether the best value of a metric is its smallest."""
    return metric in LOWER_IS_BETTER


def _ranked(
    estimates: Estimates, place: Place, at: tuple[int, ...], rules: Sequence[str]
) -> Iterator[Ranked]:
    pairs = compared(estimates, at, rules)
    lower = lower_is_better(place.metric)
    draws = draws_at(estimates.draws, at, list(pairs.values()))
    low, high = interval(draws[1:])
    best = with_best(draws, estimates.clusters, lower)
    gaps = _over_the_others(-draws[0] if lower else draws[0])
    unit, diagonal, layer, direct, metric = at
    cells, undefined = (
        values[unit, diagonal, layer, direct, :, metric] for values in (estimates.cells, estimates.undefined)
    )
    names = list(pairs)
    for position, n in enumerate(best_first(draws[0], lower), start=1):
        att, mlp, rule = names[n]
        other = pairs[names[n]]
        yield Ranked(
            place.unit, place.diagonal, place.layer, place.direct, place.metric, att, mlp, rule, position,
            float(draws[0, n]), float(low[n]), float(high[n]), float(gaps[n]), float(best.low[n]),
            float(best.high[n]), bool(best.may_be[n]), int(cells[other]), int(undefined[other]),
        )  # fmt: skip


def _over_the_others(values: Float[np.ndarray, " pair"]) -> Float[np.ndarray, " pair"]:
    """How much larger each is than the largest of the others; NaN where one of the two is not defined."""
    return np.array([value - _largest(np.delete(values, n)) for n, value in enumerate(values)])


def _largest(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.max()) if len(known) else np.nan


def best_first(means: Float[np.ndarray, " place"], lower_is_better: bool) -> Int[np.ndarray, " place"]:
    """The order of means; what is not defined comes last."""
    sign = 1 if lower_is_better else -1
    return np.argsort(np.where(np.isnan(means), np.inf, sign * means), kind="stable")


def ranking(ranked: list[Ranked], unit: str, diagonal: bool, direct: str, metric: str) -> list[Ranked]:
    """One ranking of those over all layers, best first."""
    key = (unit, diagonal, direct, metric)
    return [row for row in ranked if (row.unit, row.diagonal, row.direct, row.metric) == key]
