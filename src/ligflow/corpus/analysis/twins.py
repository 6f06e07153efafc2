"""Runs on weights that are not trained: the mean over seeds, of which sentences and seeds are drawn.

In draw b twin t counts `v_tb ~ Poisson(1)` times, and its sentences as often as those of the trained run, so
that a draw is of both: a bootstrap of two crossed factors, which is a little cautious [owen2012].
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ligflow.corpus.analysis.estimates import Estimates, estimate
from ligflow.corpus.runs.store import Run
from ligflow.evaluation.bootstrap import weights

_SEEDS = 1 << 32  # so that a twin's weights are not those of a sentence


@dataclass(frozen=True, eq=False)
class Twins:
    """Draws of the mean over the seeds of one kind of weights, as those of `Estimates`.

    `clusters` are those that an interval rests on: the seeds, or the sentences where these are fewer. With
    one seed it is the sentences, and the interval says nothing of other seeds.
    """

    kind: str
    seeds: int
    sentences: int  # as many as vary alike
    draws: Float[np.ndarray, "draw unit diagonal layer direct other metric"]

    @property
    def clusters(self) -> int:
        """How many of the fewer of the two."""
        return self.sentences if self.seeds == 1 else min(self.seeds, self.sentences)


def twins_of(runs: Mapping[str, Sequence[Run]], draws: int, seed: int) -> dict[str, Twins]:
    """Each kind of weights that has a finished shard, its seeds together."""
    begun = {kind: [run for run in of_kind if run.done] for kind, of_kind in runs.items()}
    return {
        kind: over_seeds(kind, (estimate(run, draws, seed) for run in of_kind), seed)
        for kind, of_kind in begun.items()
        if of_kind
    }


def over_seeds(kind: str, every: Iterable[Estimates], seed: int) -> Twins:
    """Draws of the mean over twins, which are taken one at a time; NaN where a draw has none [owen2012]."""
    total, count, seeds, sentences = np.zeros(()), np.zeros(()), 0, 0
    for number, of_one in enumerate(every):
        weight = weights(seed, [_SEEDS + number], len(of_one.draws) - 1).reshape(-1, *[1] * 6)
        known = ~np.isnan(of_one.draws)
        total = total + weight * np.where(known, of_one.draws, 0)
        count = count + weight * known
        seeds, sentences = seeds + 1, max(sentences, of_one.clusters)
        alone = of_one.draws
    if seeds == 1:
        return Twins(kind, 1, sentences, alone)
    with np.errstate(invalid="ignore", divide="ignore"):
        return Twins(kind, seeds, sentences, np.where(count > 0, total / count, np.nan))
