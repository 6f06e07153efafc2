"""Simultaneous intervals and the set that holds the best: by hand, coverage, what is not defined."""

import numpy as np
import pytest

from ligflow.evaluation.simultaneous import simultaneous_interval, with_best
from made_clusters import drawn


def test_the_interval_of_one_value_is_a_t_interval() -> None:
    """Of the mean of 12 clusters: 2.201 standard errors, not the 1.96 of a normal one."""
    values = np.random.default_rng(0).normal(size=(12, 1))
    low, high = simultaneous_interval(drawn(values, draws=20_000), 12)
    error = values.std(ddof=1) / np.sqrt(12)
    assert low[0] == pytest.approx(values.mean() - 2.201 * error, abs=0.05 * error)
    assert high[0] == pytest.approx(values.mean() + 2.201 * error, abs=0.05 * error)


def test_many_values_reach_farther_and_the_same_value_twice_does_not() -> None:
    """Of 20 independent means of 400 clusters 3.02 standard errors; the same one 20 times as one alone."""
    values = np.random.default_rng(0).normal(size=(400, 20))
    low, high = simultaneous_interval(drawn(values, draws=4000), 400)
    assert np.mean((high - low) / 2 / (values.std(0, ddof=1) / 20)) == pytest.approx(3.02, abs=0.08)
    low, high = simultaneous_interval(np.repeat(drawn(values[:, :1], draws=4000), 20, axis=1), 400)
    assert ((high - low) / 2 / (values[:, 0].std(ddof=1) / 20))[0] < 2.6  # 1.96, but for errors' errors


def test_all_intervals_hold_at_once_as_often_as_they_say() -> None:
    held = 0
    for repeat in range(300):
        values = np.random.default_rng(repeat).normal(size=(40, 8)) * np.arange(1, 9)
        low, high = simultaneous_interval(drawn(values, seed=repeat), 40)
        held += bool(((low <= 0) & (high >= 0)).all())
    assert 0.92 <= held / 300 <= 0.99


@pytest.mark.parametrize("better", [0.0, 0.4])
def test_the_best_is_among_those_that_may_be(better: float) -> None:
    """The first is the best, by nothing or by little: it is in the set in 95%, whichever looks best."""
    held = 0
    for repeat in range(300):
        values = np.random.default_rng(repeat).normal(size=(40, 10))
        values[:, 0] += better
        held += bool(with_best(drawn(values, seed=repeat), 40).may_be[0])
    assert held / 300 >= 0.91


def test_the_set_grows_small_where_the_best_is_far() -> None:
    values = np.random.default_rng(1).normal(size=(40, 5))
    values[:, 3] += 3
    found = with_best(drawn(values), 40)
    assert found.may_be.tolist() == [False, False, False, True, False]
    assert found.low[3] == 0  # no worse than any other
    gaps = values.mean(0) - values[:, 3].mean()
    others = [0, 1, 2, 4]
    assert (found.low[others] < gaps[others]).all()
    assert (found.high[others] == 0).all()
    lower = with_best(-drawn(values), 40, lower_is_better=True)
    np.testing.assert_array_equal(lower.low, found.low)


def test_constrained_intervals_by_hand() -> None:
    """Draws of three candidates whose gaps and reaches are set: i less the best of the others."""
    values = np.random.default_rng(2).normal(size=(60, 3)) + np.array([0.0, 0.05, -5.0])
    draws = drawn(values, draws=2000)
    found = with_best(draws, 60)
    assert found.may_be.tolist() == [True, True, False]
    gap = draws[0, 0] - draws[0, 1]
    assert found.low[0] < gap < found.high[0]
    assert found.low[0] == pytest.approx(gap - (found.high[1] + gap), abs=1e-9)  # by the rival's own reach
    assert found.high[2] == 0


def test_what_never_varies_is_told_apart() -> None:
    values = np.random.default_rng(3).normal(size=(30, 1))
    draws = drawn(np.concatenate([values, values + 0.25, values], axis=1))
    low, high = simultaneous_interval(draws - draws[:, :1], 30)
    np.testing.assert_allclose([low, high], [[0, 0.25, 0]] * 2, atol=1e-12)
    assert with_best(draws, 30).may_be.tolist() == [False, True, False]
    assert with_best(draws[:, [0, 2]], 30).may_be.all()


def test_what_is_not_defined_is_left_out() -> None:
    values = np.random.default_rng(4).normal(size=(30, 3))
    draws = drawn(values)
    draws[:, 1] = np.nan
    low, high = simultaneous_interval(draws, 30)
    assert np.isnan([low[1], high[1]]).all()
    assert np.isfinite([low[0], low[2]]).all()
    assert with_best(draws, 30).may_be.tolist() == [True, False, True]


@pytest.mark.parametrize(("clusters", "undefined"), [(1, 0), (30, 60)])
def test_without_intervals_all_may_be_the_best(clusters: int, undefined: int) -> None:
    draws = drawn(np.random.default_rng(5).normal(size=(30, 2)) + np.array([0.0, 9.0]))
    draws[1 : undefined + 1, 0] = draws[undefined + 1 : 2 * undefined + 1, 1] = np.nan  # of 300
    assert np.isnan(simultaneous_interval(draws, clusters)).all()
    assert with_best(draws, clusters).may_be.all()


def test_what_is_rarely_defined_takes_nothing_from_the_others() -> None:
    draws = drawn(np.random.default_rng(5).normal(size=(30, 3)) + np.array([0.0, 9.0, 99.0]))
    draws[1:100, 2] = np.nan  # of 300
    low, high = simultaneous_interval(draws, 30)
    known = simultaneous_interval(draws[:, :2], 30)
    np.testing.assert_array_equal([low[:2], high[:2]], known)
    assert np.isnan([low[2], high[2]]).all()
    assert with_best(draws, 30).may_be.tolist() == [False, True, True]
