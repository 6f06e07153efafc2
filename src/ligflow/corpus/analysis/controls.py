"""Every pair beside its controls: maps that know less, and the same pair on weights that are not trained.

All differences of a ranking, of all its pairs from all their controls, have intervals that hold at once. On
weights that are not trained the seed is drawn as well as the sentences: see `twins`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ligflow.corpus.analysis.estimates import Estimates, Pair
from ligflow.corpus.analysis.rankings import Place, compared, draws_at, lower_is_better, places
from ligflow.corpus.analysis.twins import Twins
from ligflow.evaluation.verdicts import beside


@dataclass(frozen=True)
class Control(Place):
    """One pair beside one control: both values, the pair's less the control's, and `outcome`.

    The interval holds for all pairs and controls of the ranking at once (`of weights` controls: for all pairs
    beside weights of that kind). `outcome` says whether the pair is surely better or worse.
    """

    att: str
    mlp: str
    rule: str
    control: str
    mean: float
    value: float
    difference: float
    low: float
    high: float
    outcome: str

    @property
    def pair(self) -> Pair:
        """Its baselines and rule."""
        return (self.att, self.mlp, self.rule)


def controls(estimates: Estimates, twins: Mapping[str, Twins] | None = None) -> list[Control]:
    """Every pair beside each control that it has, at every place that is ranked over all layers."""
    return [
        row
        for place, at in places(estimates)
        for row in (*_of_maps(estimates, place, at), *_of_weights(estimates, twins or {}, place, at))
    ]


def _of_maps(estimates: Estimates, place: Place, at: tuple[int, ...]) -> Iterator[Control]:
    """Beside maps of the same run."""
    unit, diagonal, layer, direct, metric = at
    rows = (estimates.cells + estimates.undefined)[unit, diagonal, layer, direct, :, metric]
    held = [
        (pair, own, kind, other)
        for pair, own in compared(estimates, at).items()
        for kind in estimates.controls
        if (other := estimates.place(kind, pair)) is not None and rows[other]
    ]
    values = draws_at(estimates.draws, at, [own for _, own, _, _ in held])
    others = draws_at(estimates.draws, at, [other for *_, other in held])
    names = [(pair, kind) for pair, _, kind, _ in held]
    yield from _rows(place, names, values, others, estimates.clusters)


def _of_weights(
    estimates: Estimates, twins: Mapping[str, Twins], place: Place, at: tuple[int, ...]
) -> Iterator[Control]:
    """Beside the same maps of models that are not trained."""
    pairs = compared(estimates, at)
    values = draws_at(estimates.draws, at, list(pairs.values()))
    for kind, of_kind in twins.items():
        others = draws_at(of_kind.draws, at, list(pairs.values()))
        yield from _rows(place, [(pair, kind) for pair in pairs], values, others, of_kind.clusters)


def _rows(
    place: Place, names: list[tuple[Pair, str]], values: np.ndarray, others: np.ndarray, clusters: int
) -> Iterator[Control]:
    held = beside(values, others, clusters, lower_is_better(place.metric))
    for n, (pair, kind) in enumerate(names):
        yield Control(
            place.unit, place.diagonal, place.layer, place.direct, place.metric, *pair, kind,
            float(values[0, n]), float(others[0, n]), float(held.difference[n]), float(held.low[n]),
            float(held.high[n]), str(held.outcome[n]),
        )  # fmt: skip
