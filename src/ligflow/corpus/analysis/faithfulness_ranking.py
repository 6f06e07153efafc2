"""How methods stand under every measure of faithfulness: means with intervals over sentences, and verdicts.

Intervals of means are those of a bootstrap over sentences [chamandy2012]; methods share its draws. One
variant of LIG, named beforehand, stands beside the methods of others. Which of these may be the best is told
by multiple comparisons with the best [hsu1984], and whether the named one is, by intervals that are
simultaneous over all its rivals. The other variants of LIG have means and no place, so that no best of many
is chosen.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np
import pandas
from jaxtyping import Float

from ligflow.corpus.analysis.rankings import best_first
from ligflow.corpus.tables.faithfulness_rows import NOT_RANKED
from ligflow.evaluation.bootstrap import add, alike, interval, means, nothing, weights
from ligflow.evaluation.faithfulness import LOWER_IS_BETTER
from ligflow.evaluation.judged_maps import GREEDY, HALF, LEAVE_ONE_OUT, POSITIVE
from ligflow.evaluation.other_methods import NAMED, shares_start
from ligflow.evaluation.simultaneous import with_best
from ligflow.evaluation.verdicts import best_is_named

CONTROLS = (LEAVE_ONE_OUT, GREEDY, HALF, POSITIVE, "nearness", "random")


@dataclass(frozen=True)
class Standing:
    """One method under one measure: its mean over targets, with a 95% interval over sentences.

    `layer` is None over all layers. `kind` is `named`, `other`, `variant` (of LIG) or `control`. `place`
    counts from 1 among the named and the others, 0 for the rest and for measures without a better end.
    `ahead_low` and `ahead_high` are Hsu's interval of how much better it is than the best of the others, all
    of which hold together; `may_be_best` that it may be the best.
    """

    layer: int | None
    replacement: str
    players: str
    measure: str
    method: str
    kind: str
    mean: float
    low: float
    high: float
    place: int
    ahead_low: float
    ahead_high: float
    may_be_best: bool
    targets: int


@dataclass(frozen=True)
class Verdict:
    """Whether the named variant of LIG is the best: `holds`, `does not hold` or `cannot be told`.

    `best` has the best mean. `own_game` says that the named one starts where removed sources are put.
    """

    layer: int | None
    replacement: str
    players: str
    measure: str
    outcome: str
    best: str
    own_game: bool


@dataclass(frozen=True, eq=False)
class _Column:
    """The draws of all methods under one measure; row 0 of `draws` is the means."""

    layer: int | None
    replacement: str
    players: str
    measure: str
    methods: list[str]
    draws: Float[np.ndarray, "draw method"]
    targets: Float[np.ndarray, " method"]
    sentences: int

    @property
    def rated(self) -> np.ndarray:
        """The columns of the named one and the others, if the measure has a better end."""
        kinds = [kind(method) in ("named", "other") for method in self.methods]
        known = ~np.isnan(self.draws[0])
        return np.flatnonzero(np.array(kinds) & known & (self.measure not in NOT_RANKED))

    @property
    def low_is_good(self) -> bool:
        """Whether the best mean is the smallest."""
        return self.measure in LOWER_IS_BETTER


def kind(method: str) -> str:
    """`named` or `variant` (of LIG), `control` (knows no layer, or the effects themselves), or `other`."""
    if method == NAMED:
        return "named"
    if method.startswith("LIG"):
        return "variant"
    return "control" if method in CONTROLS else "other"


def standings(frame: pandas.DataFrame, draws: int = 1000, seed: int = 0) -> list[Standing]:
    """Of the rows of a trial, over all layers and for each."""
    return [row for column in _columns(frame, draws, seed) for row in _standings(column)]


def verdicts(frame: pandas.DataFrame, draws: int = 1000, seed: int = 0) -> list[Verdict]:
    """Of the rows of a trial, over all layers and for each, under each measure that has a better end."""
    return [_verdict(column) for column in _columns(frame, draws, seed) if len(column.rated) > 1]


def _columns(frame: pandas.DataFrame, draws: int, seed: int) -> Iterator[_Column]:
    yield from _of_layer(frame, None, draws, seed)
    for layer, rows in frame.groupby("layer"):
        yield from _of_layer(rows, int(str(layer)), draws, seed)


def _of_layer(frame: pandas.DataFrame, layer: int | None, draws: int, seed: int) -> Iterator[_Column]:
    for key, rows in frame.groupby(["replacement", "players", "measure"], sort=False):
        replacement, players, measure = map(str, cast(tuple[str, str, str], key))
        numbers, methods, sums, counts = _by_sentence(_in_all_layers(rows))
        total = nothing(draws, sums.shape[1])
        add(total, weights(seed, numbers, draws), sums, counts)
        yield _Column(
            layer, replacement, players, measure, methods, means(total), total.counts[0],
            alike(counts.max(axis=1)),
        )  # fmt: skip


def _by_sentence(
    rows: pandas.DataFrame,
) -> tuple[list[int], list[str], Float[np.ndarray, "sentence method"], Float[np.ndarray, "sentence method"]]:
    """The sentences, the methods as they come, and each method's sum and count in each sentence."""
    of_row, sentences = pandas.factorize(rows["sentence"], sort=True)
    of_method, methods = pandas.factorize(rows["method"])
    sums, counts = np.zeros((2, len(sentences), len(methods)))
    for values, name in ((sums, "sum"), (counts, "count")):
        np.add.at(values, (of_row, of_method), np.asarray(rows[name].fillna(0), np.float64))
    return [int(number) for number in sentences], list(map(str, methods)), sums, counts


def _in_all_layers(rows: pandas.DataFrame) -> pandas.DataFrame:
    """Without methods that some layer does not have, whose means would be over others than the rest's."""
    layers = rows.groupby("method").layer.transform("nunique")
    return rows[layers == layers.max()]


def _standings(column: _Column) -> Iterator[Standing]:
    low, high = interval(column.draws[1:])
    place, ahead = _places(column)
    for number, method in enumerate(column.methods):
        yield Standing(
            column.layer, column.replacement, column.players, column.measure, method, kind(method),
            float(column.draws[0, number]), float(low[number]), float(high[number]), place[number],
            float(ahead[0, number]), float(ahead[1, number]), bool(ahead[2, number] == 1),
            int(column.targets[number]),
        )  # fmt: skip


def _places(column: _Column) -> tuple[list[int], Float[np.ndarray, "3 method"]]:
    """The place of each method; both ends of its interval beside the best other, and 1 if it may be best."""
    place, ahead = [0] * len(column.methods), np.full((3, len(column.methods)), np.nan)
    rated = column.rated
    if len(rated):
        order = rated[best_first(column.draws[0, rated], column.low_is_good)]
        for position, number in enumerate(order, start=1):
            place[number] = position
        found = with_best(column.draws[:, rated], column.sentences, column.low_is_good)
        ahead[:, rated] = found.low, found.high, found.may_be
    return place, ahead


def _verdict(column: _Column) -> Verdict:
    names = [column.methods[number] for number in column.rated]
    draws = column.draws[:, column.rated]
    outcome = best_is_named(
        draws, np.array([name == NAMED for name in names]), column.sentences, column.low_is_good
    )
    best = names[int(best_first(draws[0], column.low_is_good)[0])]
    own = column.replacement != "" and shares_start(NAMED, column.replacement)
    return Verdict(column.layer, column.replacement, column.players, column.measure, outcome, best, own)
