"""Whether differences over sentences lean to one side, and what many such tests leave standing.

The sign test (Arbuthnot 1710) asks how often so many of n differences would be positive if each were so with
probability 1/2: it needs no shape of their distribution. Holm's procedure (1979, "A simple sequentially
rejective multiple test procedure") keeps the probability of any false finding among all tests under the
level, however the tests depend on each other.
"""

from collections.abc import Sequence
from math import comb

import numpy as np
from jaxtyping import Float


def sign_test(differences: Float[np.ndarray, "sentence *test"], one_sided: bool = False) -> np.ndarray:
    """The exact p value of each column; zeros and NaN do not count. `one_sided`: against positive ones."""
    above, below = (differences > 0).sum(axis=0), (differences < 0).sum(axis=0)
    found = np.empty(above.shape)
    for place, (up, down) in enumerate(zip(above.flat, below.flat, strict=True)):
        more = int(up) if one_sided else max(int(up), int(down))
        tail = _upper_tail(more, int(up) + int(down))
        found.flat[place] = tail if one_sided else min(1.0, 2 * tail)
    return found


def _upper_tail(least: int, count: int) -> float:
    """The probability of at least `least` heads in `count` throws of a coin."""
    return sum(comb(count, k) for k in range(least, count + 1)) / 2**count


def holm(p: Sequence[float]) -> list[float]:
    """p values adjusted for their number: `max over the smaller ones of (m - rank) p`, at most 1."""
    order = sorted(range(len(p)), key=lambda place: p[place])
    found, largest = [1.0] * len(p), 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(p) - rank) * p[place]))
        found[place] = largest
    return found
