"""Curves of removal of a linear model, whose measures are computed by hand."""

import numpy as np
import pytest

from ligflow.errors import LigflowError
from ligflow.evaluation.removal_curves import Removal, counts, order, removal, removed_sets

WEIGHTS = np.array([9.0, 5.0, 1.0, -2.0, 4.0, 3.0, 0.0])  # the first token is no player
PLAYERS = np.arange(1, 7)


def without(sets: np.ndarray) -> np.ndarray:
    """The score of a linear model without each set."""
    return WEIGHTS.sum() - (sets * WEIGHTS).sum(axis=-1)


def measured(relevance: np.ndarray) -> Removal:
    sets = removed_sets(order(relevance, PLAYERS), len(relevance))
    return removal(WEIGHTS.sum(), without(sets))


def test_the_area_of_a_linear_model_by_hand() -> None:
    # removed 1 to 5 of 5, 4, 3, 1, 0, -2: first 5, 9, 12, 13, 13; from the end -2, -2, -1, 2, 6
    right = measured(WEIGHTS)
    assert right.comprehensiveness == pytest.approx((5 + 9 + 12 + 13 + 13) / 5)
    assert right.sufficiency == pytest.approx((-2 - 2 - 1 + 2 + 6) / 5)
    assert right.between == pytest.approx(49 / 5)
    assert measured(-WEIGHTS).between == pytest.approx(-49 / 5)


def test_no_order_is_better_than_the_true_one_and_a_random_one_has_no_area() -> None:
    generator = np.random.default_rng(0)
    areas = [measured(generator.normal(size=7)).between for _ in range(2000)]
    assert max(areas) <= 49 / 5 + 1e-9
    assert abs(np.mean(areas)) < 4 * np.std(areas) / 2000**0.5


def test_all_methods_remove_as_many() -> None:
    for players in range(1, 9):
        sets = removed_sets(order(np.random.default_rng(players).normal(size=9), np.arange(players)), 9)
        assert (sets.sum(axis=-1) == counts(players)).all()
    assert counts(3).tolist() == [1, 1, 2, 2, 3]
    assert counts(12).tolist() == [2, 4, 6, 8, 10]


def test_of_equal_tokens_the_later_goes_first() -> None:
    assert order(np.array([0.0, 1.0, 1.0, 2.0]), np.arange(4)).tolist() == [3, 2, 1, 0]


def test_a_relevance_that_is_not_finite_is_refused() -> None:
    with pytest.raises(LigflowError, match="not finite"):
        order(np.array([1.0, np.nan]), np.arange(2))
