"""How methods stand under every measure of faithfulness: means with intervals over sentences, ranked.

Intervals are those of a bootstrap over sentences [chamandy2012]. Methods share its draws, so that differences
are paired, and those that may be the best are told by intervals that hold for all at once [hsu1984].
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas

from ligflow.corpus.analysis.rankings import best_first
from ligflow.corpus.tables.faithfulness_rows import LEAVE_ONE_OUT, NOT_RANKED
from ligflow.evaluation.bootstrap import add, alike, interval, means, nothing, weights
from ligflow.evaluation.faithfulness import LOWER_IS_BETTER
from ligflow.evaluation.simultaneous import with_best

_CONTROLS = (LEAVE_ONE_OUT, "nearness", "random")


@dataclass(frozen=True)
class Standing:
    """One method under one measure: its mean over targets, with a 95% interval over sentences.

    `layer` is None over all layers. `place` counts from 1 among the methods that are not controls (which
    have 0, and so have measures without a better end), and `as_good` says that it may be the best: with 95%
    the truly best of them is among those that may be.
    """

    layer: int | None
    replacement: str
    measure: str
    method: str
    mean: float
    low: float
    high: float
    place: int
    as_good: bool
    targets: int


def is_control(method: str) -> bool:
    """Whether a method reads nothing off the layer, or is what others are compared with."""
    return method in _CONTROLS


def standings(frame: pandas.DataFrame, draws: int = 1000, seed: int = 0) -> list[Standing]:
    """Of the rows of a trial, over all layers and for each."""
    rows = list(_standings(frame, None, draws, seed))
    for layer, of_layer in frame.groupby("layer"):
        rows += _standings(of_layer, int(str(layer)), draws, seed)
    return rows


def _standings(frame: pandas.DataFrame, layer: int | None, draws: int, seed: int) -> Iterator[Standing]:
    for (replacement, measure), scores in frame.groupby(["replacement", "measure"], sort=False):
        wide = scores.pivot_table(index="sentence", columns="method", aggfunc="sum", sort=False)[
            ["sum", "count"]
        ]
        total = nothing(draws, wide["sum"].shape[1])
        weight = weights(seed, [int(number) for number in wide.index], draws)
        counts = wide["count"].fillna(0).to_numpy(np.float64)
        add(total, weight, wide["sum"].fillna(0).to_numpy(), counts)
        every = means(total)
        low, high = interval(every[1:])
        methods = list(wide["sum"].columns)
        place, as_good = _places(every, methods, str(measure), alike(counts.max(axis=1)))
        for number, method in enumerate(methods):
            yield Standing(
                layer, str(replacement), str(measure), method, float(every[0, number]), float(low[number]),
                float(high[number]), place[number], as_good[number], int(total.counts[0, number]),
            )  # fmt: skip


def _places(
    every: np.ndarray, methods: list[str], measure: str, clusters: int
) -> tuple[list[int], list[bool]]:
    """The place of each method, and whether it may be the best of those that are no controls."""
    place, as_good = [0] * len(methods), [False] * len(methods)
    rated = np.array([number for number, method in enumerate(methods) if not is_control(method)])
    if measure in NOT_RANKED:
        return place, as_good
    lower = measure in LOWER_IS_BETTER
    may_be = with_best(every[:, rated], clusters, lower).may_be
    for position, n in enumerate(best_first(every[0, rated], lower), start=1):
        place[rated[n]], as_good[rated[n]] = position, bool(may_be[n])
    return place, as_good
