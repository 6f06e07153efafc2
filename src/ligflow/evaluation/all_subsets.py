"""What the scores of all sets of removed tokens say: Shapley values, and the best and the worst order.

For n tokens these are `2^n` scores, `values[R]` with bit k of R set where player k is removed: of a short
prompt they can all be had, and then nothing is sampled and no search may miss the best.
"""

from dataclasses import dataclass
from math import comb

import numpy as np
from jaxtyping import Float, Int

from ligflow.errors import LigflowError


@dataclass(frozen=True)
class Bounds:
    """The least and the largest area over the curve of any order, in the unit of the score."""

    worst: float
    best: float


def exact_shapley(values: Float[np.ndarray, " set"]) -> Float[np.ndarray, " player"]:
    """`phi_k = Σ_R |R|! (n - |R| - 1)! / n! (v(R) - v(R + k))` over sets R without k [shapley1953].

    What the score loses on average as k goes, over all orders; they sum to `v({}) - v(all)`.
    """
    n = _players(values)
    sets = np.arange(len(values))
    sizes = np.array([int(each).bit_count() for each in sets])
    weight = np.array([1 / (n * comb(n - 1, size)) for size in range(n)] + [0.0])[sizes]
    shares = np.zeros(n)
    for player in range(n):
        without = sets[(sets >> player) & 1 == 0]
        shares[player] = weight[without] @ (values[without] - values[without | (1 << player)])
    return shares


def area_over(values: Float[np.ndarray, " set"], ranked: Int[np.ndarray, " player"]) -> float:
    """`1/n Σ_i v({}) - v(the first i)`, i = 1 to n: the area over an order's curve, AOPC [samek2017]."""
    gone = np.bitwise_or.accumulate(1 << np.asarray(ranked, dtype=np.int64))
    return float((values[0] - values[gone]).mean())


def bounds(values: Float[np.ndarray, " set"]) -> Bounds:
    """The least and the largest `area_over` of all n! orders, exactly, set by set.

    `b(R) = max_k b(R + k) + v({}) - v(R + k)`: what follows depends on the set that is gone, not its order.
    """
    n = _players(values)
    least, most = np.zeros(len(values)), np.zeros(len(values))
    for gone in range(len(values) - 2, -1, -1):
        after = np.array([gone | (1 << player) for player in range(n) if not (gone >> player) & 1])
        lost = values[0] - values[after]
        least[gone], most[gone] = (least[after] + lost).min(), (most[after] + lost).max()
    return Bounds(float(least[0]) / n, float(most[0]) / n)


def normalised(area: float, limits: Bounds) -> float:
    """`(area - worst) / (best - worst)` [edin2024]: 0 for the worst order of this prompt, 1 for the best.

    NaN where all orders are alike.
    """
    reach = limits.best - limits.worst
    return (area - limits.worst) / reach if reach > 0 else float("nan")


def _players(values: np.ndarray) -> int:
    """How many players so many sets are of. Raises LigflowError for a number that is no power of two."""
    n = len(values).bit_length() - 1
    if n < 1 or len(values) != 1 << n:
        raise LigflowError(f"There are {len(values)} scores; give one for each of the 2^n sets of n tokens.")
    return n
