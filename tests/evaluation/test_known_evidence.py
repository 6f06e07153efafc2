"""Where the answer is known to stand: by hand, and zero for random relevance."""

import numpy as np
import pytest

from ligflow.evaluation.known_evidence import place_over_chance, recall_over_chance, share_over_chance

RELEVANCE = np.array([9.0, 4.0, -6.0, 1.0, 1.0])
PLAYERS = np.arange(1, 5)


def test_by_hand() -> None:
    assert recall_over_chance(RELEVANCE, PLAYERS, np.array([1, 2])) == 0.5 - 0.5  # 1 and 4 are at the top
    assert recall_over_chance(RELEVANCE, PLAYERS, np.array([0, 1])) == 1 - 1 / 4
    assert place_over_chance(RELEVANCE, PLAYERS, 2) == 0.5
    assert place_over_chance(RELEVANCE, PLAYERS, 3) == pytest.approx(0.5 / 3 - 0.5)
    assert share_over_chance(RELEVANCE, PLAYERS, 2) == pytest.approx(6 / 12 - 1 / 4)


def test_a_token_that_stays_has_no_place() -> None:
    assert np.isnan(place_over_chance(RELEVANCE, PLAYERS, 0))
    assert np.isnan(share_over_chance(RELEVANCE, PLAYERS, 0))
    assert np.isnan(recall_over_chance(RELEVANCE, PLAYERS, np.array([0])))
    assert np.isnan(share_over_chance(np.zeros(5), PLAYERS, 1))


def test_random_relevance_scores_zero() -> None:
    generator = np.random.default_rng(0)
    drawn = [generator.normal(size=9) for _ in range(4000)]
    players = np.arange(1, 9)
    for scores in (
        [recall_over_chance(each, players, np.array([3, 4, 5])) for each in drawn],
        [place_over_chance(each, players, 3) for each in drawn],
        [share_over_chance(each, players, 3) for each in drawn],
    ):
        assert abs(np.mean(scores)) < 4 * np.std(scores) / len(drawn) ** 0.5
