"""How often a verdict is wrong where there is nothing to find. Run: python docs/scripts/false_verdicts.py

Made-up sentences, of 5 to 30 rows each, whose candidates have the same mean: any verdict but "cannot be told"
is a false one, and each candidate is a best. Prints rates with their 95% intervals (two minutes of one core).
"""

from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np

from ligflow.evaluation.bootstrap import add, alike, means, nothing, weights
from ligflow.evaluation.simultaneous import with_best
from ligflow.evaluation.verdicts import FAILS, HOLDS, OPEN, beside, best_is_named

REPEATS, DRAWS, CANDIDATES = 1000, 500, 20
NAMED = np.arange(CANDIDATES) < 4
Law = Callable[[np.random.Generator, tuple[int, int]], np.ndarray]
LAWS: dict[str, Law] = {
    "normal": lambda draw, shape: draw.normal(size=shape),
    "heavy tails (t of 2 degrees) and a common effect": lambda draw, shape: (
        draw.standard_t(2, shape) + 5 * draw.standard_t(2, (shape[0], 1))
    ),
    "skewed (lognormal)": lambda draw, shape: draw.lognormal(0, 1.5, shape),
    "controls of another shape (lognormal beside normal)": lambda draw, shape: np.where(
        np.arange(shape[1]) < shape[1] // 2, draw.lognormal(0, 1, shape), draw.normal(np.exp(0.5), 0.3, shape)
    ),
}


def drawn(draw: np.random.Generator, law: Law, sentences: int, seed: int) -> tuple[np.ndarray, int]:
    """Draws of the means of every candidate over all rows, and of how many clusters they are."""
    values, rows = law(draw, (sentences, CANDIDATES)), draw.integers(5, 31, (sentences, 1)).astype(float)
    total = nothing(DRAWS, CANDIDATES)
    add(total, weights(seed, range(sentences), DRAWS), values * rows, rows * np.ones_like(values))
    return means(total), alike(rows[:, 0])


def rate(count: int) -> str:
    """A share of the repeats with Wilson's interval."""
    share, z = count / REPEATS, 1.96
    middle = (share + z**2 / (2 * REPEATS)) / (1 + z**2 / REPEATS)
    reach = z * np.sqrt(share * (1 - share) / REPEATS + z**2 / (4 * REPEATS**2)) / (1 + z**2 / REPEATS)
    return f"{share:.1%} [{max(0.0, middle - reach):.1%}, {middle + reach:.1%}]"


def lines() -> Iterator[str]:
    half = CANDIDATES // 2
    for name, law in LAWS.items():
        for sentences in (30, 100):
            wrong: Counter[str] = Counter()
            for repeat in range(REPEATS):
                draws, clusters = drawn(np.random.default_rng(repeat), law, sentences, repeat)
                wrong[best_is_named(draws, NAMED, clusters)] += 1
                wrong["two " + best_is_named(draws[:, [0, 1]], NAMED[[0, -1]], clusters)] += 1
                wrong["lost"] += not with_best(draws, clusters).may_be[0]
                held = beside(draws[:, :half], draws[:, half:], clusters)
                wrong["control"] += bool((held.outcome != OPEN).any())
            yield f"{name}, {sentences} sentences:"
            yield f"  4 named of {CANDIDATES} decided: {rate(wrong[HOLDS] + wrong[FAILS])}"
            yield f"  1 named of 2 decided: {rate(REPEATS - wrong['two ' + OPEN])}"
            yield f"  a best not among those that may be: {rate(wrong['lost'])}"
            yield f"  any of {half} told from its control: {rate(wrong['control'])}"


if __name__ == "__main__":
    for line in lines():
        print(line, flush=True)
