"""Each genre of a corpus by itself: which pair agrees best in it, and how well.

A genre has few sentences, so its intervals are wide, and most pairs may be the best: the table says how many.
"""

from dataclasses import dataclass

from ligflow.corpus.analysis.clusters import genres
from ligflow.corpus.analysis.estimates import estimate
from ligflow.corpus.analysis.rankings import Place, Ranked, rank, ranking
from ligflow.corpus.runs.store import Run
from ligflow.corpus.tables.schema import DIRECT, MATCHED
from ligflow.evaluation.consistency import METRICS


@dataclass(frozen=True)
class OfGenre(Place):
    """The best pair of one ranking of one genre, and the pair whose ends are matched (conserving rule).

    Intervals are of each mean by itself; `may_be_best` counts the pairs that may be the best.
    """

    genre: str
    sentences: int
    att: str
    mlp: str
    rule: str
    mean: float
    low: float
    high: float
    may_be_best: int
    matched_mean: float
    matched_low: float
    matched_high: float


def by_genre(run: Run, draws: int = 1000, seed: int = 0) -> list[OfGenre]:
    """Every genre, if there are two or more; nothing else where a corpus has none."""
    every = genres(run)
    return [row for genre in every for row in _of_genre(run, genre, draws, seed)] if len(every) > 1 else []


def _of_genre(run: Run, genre: str, draws: int, seed: int) -> list[OfGenre]:
    estimates = estimate(run, draws, seed, genre)
    ranked = rank(estimates)
    return [
        _best(genre, estimates.sentences, ranking(ranked, unit, diagonal, direct, metric))
        for unit in estimates.units
        for diagonal in (True, False)
        for direct in DIRECT
        for metric in METRICS
    ]


def _best(genre: str, sentences: int, rows: list[Ranked]) -> OfGenre:
    first = rows[0]
    ends = next(row for row in rows if row.pair == (*MATCHED[first.direct], "conserving"))
    place = (first.unit, first.diagonal, first.layer, first.direct, first.metric)
    may_be_best = sum(row.may_be_best for row in rows)
    return OfGenre(
        *place, genre, sentences, *first.pair, first.mean, first.low, first.high, may_be_best,
        ends.mean, ends.low, ends.high,
    )  # fmt: skip
