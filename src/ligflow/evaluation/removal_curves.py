"""Curves of removal of a whole model: its score as tokens go, the most relevant first, or the least.

With `v(R)` the score without the tokens R, and n tokens that may go, of which `m_i = round(n i / 6)`, i = 1
to 5, are removed, the same numbers for every method:

| measure | formula |
|---|---|
| comprehensiveness [deyoung2020] | mean over i of `v({}) - v(the m_i most relevant)` |
| sufficiency [deyoung2020] | mean over i of `v({}) - v(the m_i least relevant)`; less is better |
| area between | their difference: how much more is left without the least than without the most relevant |

All are in the unit of the score. Relevance is signed: what speaks against the answer is the least relevant.
Where tokens are equally relevant the later one goes first, in both orders, whatever the method.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from ligflow.errors import LigflowError

SHARES = 6


@dataclass(frozen=True)
class Removal:
    """What the curves of one order say, in the unit of the score."""

    comprehensiveness: float
    sufficiency: float

    @property
    def between(self) -> float:
        """The area between the curves, `comprehensiveness - sufficiency`."""
        return self.comprehensiveness - self.sufficiency


def order(relevance: Float[np.ndarray, " token"], players: Int[np.ndarray, " player"]) -> np.ndarray:
    """The players, the most relevant first; of equal ones the later first."""
    chosen = np.asarray(relevance, dtype=np.float64)[players]
    if not np.isfinite(chosen).all():
        raise LigflowError("A relevance is not finite; leave this example out, or say what the method gives.")
    return np.asarray(players)[np.lexsort((-players, -chosen))]


def counts(players: int, shares: int = SHARES) -> Int[np.ndarray, " share"]:
    """How many are removed, `round(n i / shares)` for i = 1 to shares - 1."""
    return np.floor(players * np.arange(1, shares) / shares + 0.5).astype(np.int64)


def removed_sets(
    ranked: Int[np.ndarray, " player"], tokens: int, shares: int = SHARES
) -> Bool[np.ndarray, "end share token"]:
    """The sets whose scores the curves need: the first of an order, and the last, of each count."""
    sets = np.zeros((2, shares - 1, tokens), dtype=bool)
    for place, count in enumerate(counts(len(ranked), shares)):
        sets[0, place, ranked[:count]] = True
        sets[1, place, ranked[len(ranked) - count :]] = True
    return sets


def removal(whole: float, without: Float[np.ndarray, "end share"]) -> Removal:
    """The measures, from the score of the whole prompt and the scores without `removed_sets`."""
    lost = whole - np.asarray(without, dtype=np.float64)
    return Removal(*(float(mean) for mean in lost.mean(axis=1)))
