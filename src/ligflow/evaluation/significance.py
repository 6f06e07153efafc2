"""Whether differences over sentences lean to one side, and what many such tests leave standing.

The sign test [arbuthnot1710] asks how often so many of n differences would be positive if each were so with
probability 1/2: it needs no shape of their distribution. Holm's procedure [holm1979] keeps the probability of
any false finding among all tests under the level, however the tests depend on each other.
"""

from collections.abc import Sequence
from functools import cache
from itertools import accumulate
from math import comb

import numpy as np
from jaxtyping import Float


def sign_test(differences: Float[np.ndarray, "sentence *test"], one_sided: bool = False) -> np.ndarray:
    """The exact p value of each column [arbuthnot1710]; zeros and NaN do not count.

    Of n differences m have the more frequent sign: `2 sum_{k >= m} C(n, k) / 2^n`, at most 1. With
    `one_sided` m are positive, and it is `sum_{k >= m} C(n, k) / 2^n`.
    """
    above, below = (differences > 0).sum(axis=0), (differences < 0).sum(axis=0)
    p = np.empty(above.shape)
    for place, (up, down) in enumerate(zip(above.flat, below.flat, strict=True)):
        more = int(up) if one_sided else max(int(up), int(down))
        tail = _upper_tails(int(up) + int(down))[more]
        p.flat[place] = tail if one_sided else min(1.0, 2 * tail)
    return p


@cache
def _upper_tails(count: int) -> list[float]:
    """The probabilities of at least 0, 1, ... heads in `count` throws of a coin, all at once, exact.

    By hand, since `scipy.stats.binom.sf` is rounded, and 100 MB.
    """
    from_above = accumulate(comb(count, k) for k in range(count, -1, -1))
    return [ways / 2**count for ways in from_above][::-1]


def holm(p: Sequence[float]) -> list[float]:
    """p values adjusted for their number: `max over the smaller ones of (m - rank) p`, at most 1 [holm1979].

    By hand: scipy has no Holm, and nine lines are less than statsmodels.
    """
    order = sorted(range(len(p)), key=lambda place: p[place])
    adjusted, largest = [1.0] * len(p), 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(p) - rank) * p[place]))
        adjusted[place] = largest
    return adjusted
