"""Shapley values and bounds of orders, against all orders one by one, and by hand."""

from itertools import permutations

import numpy as np
import pytest

from ligflow.errors import LigflowError
from ligflow.evaluation.all_subsets import Bounds, area_over, bounds, exact_shapley, normalised
from ligflow.evaluation.beam_orders import beam_bounds

VALUES = np.random.default_rng(0).normal(size=16)


def of_order(ranked: tuple[int, ...]) -> float:
    """The area over a curve, step by step."""
    gone, areas = 0, []
    for player in ranked:
        gone += 2**player
        areas.append(VALUES[0] - VALUES[gone])
    return float(np.mean(areas))


def sets_of(values: np.ndarray, players: int):  # type: ignore[no-untyped-def]
    return lambda gone: values[gone @ (1 << np.arange(players))]


def test_shapley_values_are_means_over_all_orders() -> None:
    lost = np.zeros(4)
    orders = [*permutations(range(4))]
    for ranked in orders:
        gone = 0
        for player in ranked:
            lost[player] += VALUES[gone] - VALUES[gone | 2**player]
            gone |= 2**player
    assert exact_shapley(VALUES) == pytest.approx(lost / len(orders))
    assert exact_shapley(VALUES).sum() == pytest.approx(VALUES[0] - VALUES[-1])


def test_bounds_are_those_of_all_orders() -> None:
    areas = [of_order(ranked) for ranked in permutations(range(4))]
    limits = bounds(VALUES)
    assert (limits.worst, limits.best) == (pytest.approx(min(areas)), pytest.approx(max(areas)))
    assert area_over(VALUES, np.array([2, 0, 3, 1])) == pytest.approx(of_order((2, 0, 3, 1)))


def test_the_normalised_area_by_hand() -> None:
    # two tokens, v = 10 whole, 4 without the first, 8 without the second, 0 without both
    values = np.array([10.0, 4.0, 8.0, 0.0])
    limits = bounds(values)
    assert limits == Bounds(worst=(2 + 10) / 2, best=(6 + 10) / 2)
    assert normalised(area_over(values, np.array([0, 1])), limits) == 1
    assert normalised(area_over(values, np.array([1, 0])), limits) == 0
    assert np.isnan(normalised(1.0, Bounds(1.0, 1.0)))


def test_a_wide_beam_finds_the_bounds_and_a_narrow_one_is_greedy() -> None:
    limits = bounds(VALUES)
    wide = beam_bounds(sets_of(VALUES, 4), 4, beam=24)
    assert (wide.worst, wide.best) == (pytest.approx(limits.worst), pytest.approx(limits.best))
    # greedy takes the first token, whose going loses most, and misses the pair that loses all
    trap = np.array([0.0, -2.0, -1.0, -2.0, -1.0, -2.0, -9.0, -9.0])
    greedy = beam_bounds(sets_of(trap, 3), 3, beam=1)
    assert greedy.best == pytest.approx((2 + 2 + 9) / 3)
    assert bounds(trap).best == pytest.approx((1 + 9 + 9) / 3)
    with pytest.raises(LigflowError, match="beam is 0"):
        beam_bounds(sets_of(trap, 3), 3, beam=0)


def test_scores_that_are_not_of_all_sets_are_refused() -> None:
    with pytest.raises(LigflowError, match="3 scores"):
        exact_shapley(np.zeros(3))


def test_the_published_package_normalises_alike() -> None:
    """Its exact bounds and areas (`aopc` 0.1.0) of made-up probabilities without each set of four tokens."""
    values = np.array(
        [0.9, 0.69, 0.7, 0.46, 0.28, 0.09, 0.36, 0.38, 0.09, 0.09, 0.85, 0.57, 0.24, 0.4, 0.83, 0.77]
    )
    limits, ranked = bounds(values), np.argsort([-0.3, 0.2, -0.8, -0.1])
    areas = area_over(values, ranked), area_over(values, ranked[::-1])
    assert (limits.worst, limits.best) == pytest.approx((0.11249999701976776, 0.5624999776482582), abs=1e-7)
    assert areas == pytest.approx((0.5149999782443047, 0.17749999463558197), abs=1e-7)
    assert [normalised(area, limits) for area in areas] == pytest.approx(
        [0.8944444412250576, 0.14444444536426926], abs=1e-7
    )
