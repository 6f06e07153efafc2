"""Sign tests and Holm's procedure against enumeration and by hand."""

import itertools

import numpy as np
import pytest
from scipy import stats

from ligflow.evaluation.significance import holm, sign_test


def test_the_sign_test_counts_all_signs() -> None:
    """Of the 2^7 signs of seven differences, those with as many on one side or more."""
    given = np.array([0.3, 0.1, 0.2, -0.4, 0.5, 0.6, 0.9])
    signs = np.array(list(itertools.product([-1, 1], repeat=7)))
    above = (signs > 0).sum(axis=1)
    assert sign_test(given[:, None], one_sided=True)[0] == pytest.approx((above >= 6).mean())
    assert sign_test(given[:, None])[0] == pytest.approx(((above >= 6) | (above <= 1)).mean())
    assert sign_test(-given[:, None])[0] == pytest.approx(((above >= 6) | (above <= 1)).mean())
    assert sign_test(-given[:, None], one_sided=True)[0] == pytest.approx((above >= 1).mean())


def test_zeros_and_what_is_not_defined_do_not_count() -> None:
    given = np.array([[1.0, 0.0], [0.0, 0.0], [np.nan, np.nan], [2.0, 0.0]])
    assert sign_test(given).tolist() == [pytest.approx(0.5), 1.0]


def test_it_is_scipys() -> None:
    draws = np.random.default_rng(0).normal(0.2, 1, (30, 5))
    for column, found in zip(draws.T, sign_test(draws), strict=True):
        expected = stats.binomtest(int((column > 0).sum()), 30).pvalue
        assert found == pytest.approx(expected)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.5]) == pytest.approx([0.04, 0.09, 0.09, 0.5])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_no_more_false_findings_than_the_level() -> None:
    """40 sentences, 24 heads that are alike: a finding in at most 5% of corpora."""
    draws = np.random.default_rng(1)
    found = 0
    for _ in range(300):
        distances = draws.lognormal(size=(40, 24)) * draws.lognormal(size=(40, 1))
        others = np.stack([np.median(np.delete(distances, h, 1), axis=1) for h in range(24)], axis=1)
        found += min(holm(sign_test(distances - others, one_sided=True).tolist())) <= 0.05
    assert found <= 0.05 * 300 + 2 * (300 * 0.05 * 0.95) ** 0.5


def test_many_sentences_take_one_table_of_tails() -> None:
    """Exact, at counts whose binomials no float holds; 144 heads by 12 measures of 2,000 sentences."""
    draw = np.random.default_rng(0).standard_normal((2000, 1728))
    found = sign_test(draw, one_sided=True)
    above = (draw > 0).sum(axis=0)
    assert found == pytest.approx(stats.binom.sf(above - 1, 2000, 0.5), rel=1e-9)
