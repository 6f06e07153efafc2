"""Verdicts: how often they are wrong where there is nothing to find, and that they find what is there."""

from collections import Counter

import numpy as np
import pytest

from ligflow.evaluation.verdicts import BETTER, FAILS, HOLDS, OPEN, WORSE, beside, best_is_named
from made_clusters import drawn

NAMED = np.arange(12) < 3
REPEATS = 300


def made(law: str, generator: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Clusters of candidates that are all alike; `heavy` ones have no variance, and a common effect."""
    if law == "normal":
        return generator.normal(size=shape)
    return generator.standard_t(2, size=shape) + 5 * generator.standard_t(2, size=(shape[0], 1))


@pytest.mark.parametrize("law", ["normal", "heavy"])
def test_a_random_ranking_is_decided_in_five_per_cent_at_most(law: str) -> None:
    """Two candidates, where a false verdict is easiest, and twelve; 5% and what 300 repeats may be off."""
    two, twelve, controls = Counter[str](), Counter[str](), 0
    for repeat in range(REPEATS):
        draws = drawn(made(law, np.random.default_rng(repeat), (40, 12)), seed=repeat)
        two[best_is_named(draws[:, :2], NAMED[:2] & (np.arange(2) < 1), 40)] += 1
        twelve[best_is_named(draws, NAMED, 40)] += 1
        controls += bool((beside(draws[:, :6], draws[:, 6:], 40).outcome != OPEN).any())
    for wrong in (REPEATS - two[OPEN], REPEATS - twelve[OPEN], controls):
        assert wrong / REPEATS <= 0.05 + 2.5 * np.sqrt(0.05 * 0.95 / REPEATS)


def test_ranks_without_intervals_would_be_wrong_far_more_often() -> None:
    """The rule that this replaces, the best is a named one, holds of chance as often as names are many."""
    firsts = [
        NAMED[drawn(np.random.default_rng(repeat).normal(size=(40, 12)), 1, repeat)[0].argmax()]
        for repeat in range(REPEATS)
    ]
    assert 0.18 <= np.mean(firsts) <= 0.32  # 3 of 12


@pytest.mark.parametrize(("place", "outcome"), [(1, HOLDS), (7, FAILS)])
@pytest.mark.parametrize("lower", [False, True])
def test_a_planted_best_is_found(place: int, outcome: str, lower: bool) -> None:
    values = np.random.default_rng(0).normal(size=(60, 12))
    values[:, place] += 2
    assert best_is_named(drawn(-values if lower else values), NAMED, 60, lower) == outcome


def test_both_verdicts_take_the_same() -> None:
    """A named and another candidate far above all: it cannot be told which of the two is the best."""
    values = np.random.default_rng(0).normal(size=(60, 12))
    values[:, [0, 9]] += 5
    for named in (NAMED, ~NAMED):
        assert best_is_named(drawn(values), named, 60) == OPEN


def test_each_of_the_named_may_be_worse_than_another_one() -> None:
    """Two groups of noise of their own: for each other candidate it takes one named one that is better."""
    values = np.random.default_rng(0).normal(size=(200, 4)) * 0.1
    values[:, [0, 2]] += 1  # named 0 beats 3 alone, named 1 beats nobody
    draws = drawn(values)
    named = np.array([True, True, False, False])
    assert best_is_named(draws, named, 200) == OPEN
    draws[:, 0] += 1
    assert best_is_named(draws, named, 200) == HOLDS


def test_without_candidates_of_either_kind_or_clusters_nothing_is_told() -> None:
    values = np.random.default_rng(0).normal(size=(60, 4)) + np.array([9, 0, 0, 0])
    draws = drawn(values)
    first = np.arange(4) < 1
    assert best_is_named(draws, first, 60) == HOLDS
    assert best_is_named(draws, first, 1) == OPEN
    assert best_is_named(draws, np.ones(4, dtype=bool), 60) == OPEN
    draws[:, 0] = np.nan
    assert best_is_named(draws, first, 60) == OPEN


def test_beside_controls_both_ways() -> None:
    values = np.random.default_rng(0).normal(size=(50, 3))
    control = values + np.array([-0.5, 0.5, 0.0]) + np.random.default_rng(1).normal(size=(50, 3)) * 0.1
    found = beside(drawn(values), drawn(control), 50)
    assert found.outcome.tolist() == [BETTER, WORSE, OPEN]
    np.testing.assert_allclose(found.difference, (values - control).mean(0))
    assert ((found.low < found.difference) & (found.difference < found.high)).all()
    lower = beside(drawn(values), drawn(control), 50, lower_is_better=True)
    assert lower.outcome.tolist() == [WORSE, BETTER, OPEN]
    nothing = beside(drawn(values), np.full((301, 3), np.nan), 50)
    assert nothing.outcome.tolist() == [OPEN] * 3
