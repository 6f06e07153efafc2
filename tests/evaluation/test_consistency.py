"""The metrics of agreement: closed forms, an independent computation, ties, masks, what is not defined."""

import numpy as np
import pytest
import torch
from scipy import stats

from ligflow.evaluation.consistency import LOWER_IS_BETTER, METRICS, agreement, shuffled_rows


def rows(*values: list[float]) -> torch.Tensor:
    """Rows as a map of one layer, [layer, target, source]."""
    return torch.tensor([list(values)], dtype=torch.float64)


def of(direct: torch.Tensor, other: torch.Tensor, seen: torch.Tensor | None = None, top_k: int = 2) -> dict:
    seen = torch.ones_like(direct, dtype=torch.bool) if seen is None else seen
    still = torch.zeros(direct.shape[:-1], dtype=torch.bool)
    found = agreement(direct, other, seen, still, top_k)
    return {name: value.flatten().tolist() for name, value in found.items()}


def test_a_row_by_hand() -> None:
    found = of(rows([4.0, 0.0, -4.0, 2.0]), rows([1.0, 0.0, -4.0, 6.0]))
    assert found["l2"] == pytest.approx([5.0])
    assert found["relative_l2"] == pytest.approx([5 / 6])
    share = np.array([0.4 - 1 / 11, 0, -0.4 + 4 / 11, 0.2 - 6 / 11])
    assert found["normalised_l2"] == pytest.approx([np.linalg.norm(share)])
    assert found["pearson"] == pytest.approx([stats.pearsonr([4, 0, -4, 2], [1, 0, -4, 6]).statistic])
    assert found["spearman"] == pytest.approx([0.8])  # ranks 4 2 1 3 and 3 2 1 4
    assert found["top_k"] == pytest.approx([0.5])  # 0 and 2 (the tie with none), 3 and 2


def test_metrics_equal_those_of_scipy_on_random_rows() -> None:
    draw = torch.Generator().manual_seed(0)
    direct, other = (torch.randn(3, 7, 9, generator=draw).round(decimals=1) for _ in range(2))  # with ties
    seen = torch.rand(3, 7, 9, generator=draw) > 0.3
    still = torch.zeros(3, 7, dtype=torch.bool)
    found = agreement(direct, other, seen, still, top_k=3)
    for place in np.ndindex(3, 7):
        d, c = (one[place][seen[place]].double().numpy() for one in (direct, other))
        assert found["l2"][place] == pytest.approx(np.linalg.norm(c - d))
        assert found["relative_l2"][place] == pytest.approx(np.linalg.norm(c - d) / np.linalg.norm(d))
        sized = c / np.abs(c).sum() - d / np.abs(d).sum()
        assert found["normalised_l2"][place] == pytest.approx(np.linalg.norm(sized))
        assert found["pearson"][place] == pytest.approx(stats.pearsonr(c, d).statistic)
        assert found["spearman"][place] == pytest.approx(stats.spearmanr(c, d).statistic)
        strongest = [set(np.argsort(-np.abs(one), kind="stable")[:3]) for one in (c, d)]
        assert found["top_k"][place] == pytest.approx(len(strongest[0] & strongest[1]) / 3)


def test_equal_rows_agree_perfectly() -> None:
    one = rows([3.0, -1.0, 2.0, 0.5])
    found = of(one, one)
    assert [found[name][0] for name in METRICS] == pytest.approx([0, 0, 0, 1, 1, 1])


def test_scale_and_sign_show_where_they_should() -> None:
    one = rows([3.0, -1.0, 2.0, 0.5])
    twice, turned = of(one, 2 * one), of(one, -one)
    assert twice["relative_l2"] == pytest.approx([1.0])
    assert twice["normalised_l2"] == pytest.approx([0.0], abs=1e-12)
    assert twice["pearson"] == pytest.approx([1.0])
    assert turned["pearson"] == pytest.approx([-1.0])
    assert turned["spearman"] == pytest.approx([-1.0])
    assert turned["top_k"] == [1.0]  # the strongest are the strongest, whatever their sign


def test_sources_that_do_not_count_change_nothing() -> None:
    seen = torch.tensor([[[True, True, True, True, False]]])
    direct, other = rows([3.0, -1.0, 2.0, 0.5, 0.0]), rows([1.0, -2.0, 2.5, 0.0, 0.0])
    short = of(direct[..., :4], other[..., :4])
    assert of(direct, other, seen) == short
    assert of(direct + 9 * ~seen, other - 7 * ~seen, seen) == short


def test_what_is_not_defined_is_nan_and_nothing_else() -> None:
    def missing(direct: torch.Tensor, other: torch.Tensor, top_k: int = 2) -> set[str]:
        return {name for name, (value,) in of(direct, other, top_k=top_k).items() if np.isnan(value)}

    full = rows([3.0, -1.0, 2.0])
    assert missing(full, full) == set()
    assert missing(full, rows([1.0, 1.0, 1.0])) == {"pearson", "spearman"}  # a row of equal values
    assert missing(full, rows([0.1, 0.1, 0.1])) == {"pearson", "spearman"}  # whose mean is not exact
    assert missing(rows([0.0, 0.0, 0.0]), full) == {"relative_l2", "normalised_l2", "pearson", "spearman"}
    assert missing(rows([1.0, 2.0]), rows([2.0, 1.0])) == {"pearson", "spearman", "top_k"}
    assert missing(full, full, top_k=3) == {"top_k"}


def test_rows_that_did_not_move_keep_only_their_distance() -> None:
    full, still = rows([3.0, -1.0, 2.0], [1.0, 2.0, 4.0]), torch.tensor([[True, False]])
    found = agreement(full, full, torch.ones_like(full, dtype=torch.bool), still, 2)
    assert found["l2"].tolist() == [[0.0, 0.0]]
    for name in set(METRICS) - {"l2"}:
        assert found[name].isnan().tolist() == [[True, False]]


def test_leading_axes_broadcast() -> None:
    direct, other = torch.randn(3, 1, 2, 5, 5), torch.randn(1, 4, 2, 5, 5)
    seen, still = torch.ones(2, 5, 5, dtype=torch.bool), torch.zeros(3, 4, 2, 5, dtype=torch.bool)
    found = agreement(direct, other, seen, still)
    assert all(value.shape == (3, 4, 2, 5) for value in found.values())
    alone = agreement(direct[2, 0], other[0, 1], seen, still[0, 0])
    for name in METRICS:
        torch.testing.assert_close(found[name][2, 1], alone[name])


def test_a_shuffle_keeps_values_and_places_of_the_others() -> None:
    draw = torch.Generator().manual_seed(1)
    maps = torch.arange(2 * 3 * 40, dtype=torch.float32).reshape(2, 3, 1, 40)[:, :, 0].reshape(2, 3, 40)
    seen = torch.rand(3, 40, generator=draw) > 0.4
    found = shuffled_rows(maps, seen, draw)
    for one, row in np.ndindex(2, 3):
        kept = seen[row]
        assert sorted(found[one, row][kept].tolist()) == maps[one, row][kept].tolist()
        assert not torch.equal(found[one, row][kept], maps[one, row][kept])
    order = (found[0] - maps[0, :, :1]).long()
    assert torch.equal(order, (found[1] - maps[1, :, :1]).long())  # one order for all maps


def test_a_shuffle_is_uniform() -> None:
    draw = torch.Generator().manual_seed(2)
    maps = torch.arange(4.0).expand(6000, 4).contiguous()
    found = shuffled_rows(maps, torch.ones(6000, 4, dtype=torch.bool), draw)
    for place in range(4):
        counts = torch.bincount(found[:, place].long(), minlength=4)
        assert (counts - 1500).abs().max() < 150


def test_every_metric_has_a_better_end() -> None:
    assert set(LOWER_IS_BETTER) < set(METRICS)
