"""The bootstrap over clusters: a direct loop, order, coverage, what is not counted."""

import numpy as np
import pytest

from ligflow.evaluation.bootstrap import add, alike, interval, means, nothing, weights


def whole(
    sums: np.ndarray, counts: np.ndarray, draws: int = 300, seed: int = 0, step: int = 1000
) -> np.ndarray:
    found = nothing(draws, sums.shape[1])
    for begin in range(0, len(sums), step):
        numbers = list(range(begin, min(begin + step, len(sums))))
        add(found, weights(seed, numbers, draws), sums[numbers], counts[numbers])
    return means(found)


def test_the_first_row_is_the_plain_mean_and_the_others_are_weighted() -> None:
    draw = np.random.default_rng(0)
    counts = draw.integers(1, 9, (20, 3)).astype(float)
    sums = draw.normal(size=(20, 3)) * counts
    found = whole(sums, counts, draws=200)
    np.testing.assert_allclose(found[0], sums.sum(0) / counts.sum(0))
    weight = weights(0, list(range(20)), 200)
    for b in (1, 57, 200):
        known = [sum(weight[b, s] * sums[s, c] for s in range(20)) for c in range(3)]
        over = [sum(weight[b, s] * counts[s, c] for s in range(20)) for c in range(3)]
        np.testing.assert_allclose(found[b], np.array(known) / np.array(over))


def test_weights_are_poisson_and_belong_to_the_cluster() -> None:
    one = weights(3, [5, 9], 4000)
    np.testing.assert_array_equal(one[:, 1], weights(3, [9, 2], 4000)[:, 0])
    assert not np.array_equal(one[:, 0], one[:, 1])
    assert not np.array_equal(one, weights(4, [5, 9], 4000))
    assert one[0].tolist() == [1.0, 1.0]
    assert one[1:].mean() == pytest.approx(1, abs=0.03)
    assert one[1:].var() == pytest.approx(1, abs=0.06)
    assert abs(np.corrcoef(one[1:].T)[0, 1]) < 0.05


@pytest.mark.parametrize("step", [1, 7, 100])
def test_clusters_can_come_a_few_at_a_time(step: int) -> None:
    sums, counts = np.arange(40.0).reshape(20, 2), np.ones((20, 2))
    np.testing.assert_allclose(whole(sums, counts, step=step), whole(sums, counts))


def test_what_was_never_counted_is_nan() -> None:
    found = whole(np.array([[1.0, 0.0], [3.0, 0.0]]), np.array([[1.0, 0.0], [1.0, 0.0]]))
    assert found[0, 0] == 2
    assert np.isnan(found[:, 1]).all()


@pytest.mark.parametrize("clusters", [40, 200])
def test_intervals_of_clustered_data_cover_the_truth(clusters: int) -> None:
    """Cells of a cluster share an effect: an interval over cells would be far too narrow."""
    draw, hits, repeats = np.random.default_rng(1), 0, 400
    for repeat in range(repeats):
        counts = draw.integers(5, 30, clusters).astype(float)
        own = draw.normal(size=clusters)
        noise = draw.normal(size=clusters) * np.sqrt(counts)
        sums = own * counts + noise
        low, high = interval(whole(sums[:, None], counts[:, None], 200, repeat)[1:])
        hits += bool(low[0] <= 0 <= high[0])
    assert 0.91 <= hits / repeats <= 0.98


def test_an_interval_is_the_middle_95_per_cent() -> None:
    low, high = interval(np.random.default_rng(0).permutation(1001)[:, None] / 1000)
    assert (low[0], high[0]) == pytest.approx((0.025, 0.975))


def test_an_interval_takes_three_quarters_of_the_draws() -> None:
    draws = np.tile(np.arange(200.0)[:, None], 2)
    draws[:50, 0] = draws[:51, 1] = np.nan
    low, high = interval(draws)
    assert (low[0], high[0]) == pytest.approx((50 + 0.025 * 149, 50 + 0.975 * 149))
    assert np.isnan([low[1], high[1]]).all()


def test_differences_are_paired() -> None:
    """Two cells that move together differ by a sure amount, however unsure each of them is."""
    draw = np.random.default_rng(2)
    one = draw.normal(size=50)
    sums = np.stack([one, one + 0.1], axis=1)
    found = whole(sums, np.ones((50, 2)))
    low, high = interval(found[1:, 1:] - found[1:, :1])
    assert (low[0], high[0]) == pytest.approx((0.1, 0.1))
    assert np.subtract(*interval(found[1:, :1])[::-1])[0] > 0.3


def test_more_draws_begin_with_the_same() -> None:
    np.testing.assert_array_equal(weights(3, [7, 8], 200)[:101], weights(3, [7, 8], 100))


def test_clusters_of_unequal_size_are_fewer() -> None:
    assert [alike(np.array(sizes)) for sizes in ([3, 3, 3, 3], [7], [1, 1, 1, 100], [])] == [4, 1, 1, 0]
    sizes = np.arange(5.0, 31)
    assert alike(sizes) == int((sizes**2).sum() ** 2 / (sizes**4).sum()) == 16
