"""Pairs ranked: order, paired differences, controls."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from favoured_pairs import GOOD, favouring
from ligflow.corpus.analysis.estimates import PAIRS, estimate
from ligflow.corpus.analysis.rankings import best_first, rank, ranking
from ligflow.corpus.tables.schema import DIRECT
from ligflow.evaluation.consistency import METRICS
from runs_by_hand import Row, run_by_hand

pytestmark = pytest.mark.usefixtures("no_shape_checks")


def test_the_best_is_first_under_every_metric(tmp_path: Path) -> None:
    best_pair = ("itb", "att_itb_a0", "conserving")
    ranked = rank(estimate(run_by_hand(tmp_path, change=favouring(*best_pair)), draws=200))
    for metric in METRICS:
        rows = ranking(ranked, "token", False, "zero", metric)
        assert [row.rank for row in rows] == list(range(1, len(PAIRS) + 1))
        first = rows[0]
        assert (first.att, first.mlp, first.rule) == best_pair
        assert first.mean == pytest.approx(GOOD[metric])
        assert (first.low, first.high) == pytest.approx((GOOD[metric],) * 2)
        assert first.difference == 0
        assert not any(row.tied for row in rows[1:])
        assert first.beats_attention
        assert first.beats_shuffled
        assert not first.beats_twin
        assert np.isnan(first.twin)
        means = [row.mean for row in rows]
        assert means == sorted(means, reverse=metric in ("pearson", "spearman", "top_k"))


def test_differences_to_the_best_are_paired(tmp_path: Path) -> None:
    """Every pair varies alike from sentence to sentence: each is unsure, their difference is not."""

    def change(row: Row) -> None:
        step = 0.0 if row["att"] is None else 0.001 * PAIRS.index((row["att"], row["mlp"], row["rule"]))
        row["l2"] = np.random.default_rng(row["sentence"]).uniform(1, 2) + step

    ranked = rank(estimate(run_by_hand(tmp_path, change=change), draws=200))
    rows = ranking(ranked, "token", True, "itb", "l2")
    assert [(row.att, row.mlp, row.rule) for row in rows] == PAIRS
    assert rows[1].high - rows[1].low > 0.1
    assert (rows[1].difference_low, rows[1].difference_high) == pytest.approx((0.001, 0.001), abs=1e-5)
    assert not rows[1].tied


PLACES = [
    3,
    11,
    0,
    7,
    14,
    1,
    9,
    5,
    15,
    2,
    12,
    6,
    10,
    4,
    13,
    8,
    20,
    17,
    23,
    16,
    22,
    18,
    21,
    19,
]  # of the pairs, in a mixed order


def mixed(kind: str) -> Any:
    """l2 of pair p is noise of the sentence + 0.01 times its place; each control is beside it by a known gap.

    Shuffled, the pairs of even place are better by 0.0005, the others worse; on random weights, those of
    the first eight pairs are worse by 0.002, the others better. Without the diagonal all are worse by 0.1.
    """

    def change(row: Row) -> None:
        noise = np.random.default_rng(row["sentence"]).uniform(1, 2) + (0.0 if row["diagonal"] else 0.1)
        if row["att"] is None:
            row["l2"] = noise + 0.0705
            return
        pair = PAIRS.index((row["att"], row["mlp"], row["rule"]))
        gap = 0.0
        if row["map"] == "shuffled":
            gap = -0.0005 if PLACES[pair] % 2 == 0 else 0.0005
        elif kind == "twin":
            gap = 0.002 if pair < 8 else -0.002
        row["l2"] = noise + 0.01 * PLACES[pair] + gap

    return change


@pytest.mark.parametrize("rules", [("product", "conserving"), ("product",)])
def test_every_number_of_a_ranking_is_of_its_own_pair(tmp_path: Path, rules: tuple[str, ...]) -> None:
    own, twin = (
        estimate(run_by_hand(tmp_path / kind, layers=(0,), change=mixed(kind)), draws=100)
        for kind in ("own", "twin")
    )
    rows = ranking(rank(own, twin, rules=rules), "token", True, "zero", "l2")
    order = sorted((PLACES[n], n) for n, pair in enumerate(PAIRS) if pair[2] in rules)
    base = own.mean[0, 0, -1, DIRECT.index("zero"), : len(PAIRS), METRICS.index("l2")] - 0.01 * np.array(
        PLACES
    )
    assert base == pytest.approx(np.full(len(PAIRS), base[0]))
    assert [(row.att, row.mlp, row.rule) for row in rows] == [PAIRS[n] for _, n in order]
    for row, (place, n) in zip(rows, order, strict=True):
        mean, best_place = base[0] + 0.01 * place, order[0][0]
        assert row.mean == pytest.approx(mean)
        draws = own.draws[1:, 0, 0, -1, DIRECT.index("zero"), n, METRICS.index("l2")]
        assert (row.low, row.high) == pytest.approx(tuple(np.quantile(draws, [0.025, 0.975])))
        gaps = (row.difference, row.difference_low, row.difference_high)
        assert gaps == pytest.approx((0.01 * (place - best_place),) * 3, abs=1e-6)
        assert row.tied == (place == best_place)
        assert row.attention == pytest.approx(base[0] + 0.0705)
        assert row.shuffled == pytest.approx(mean + (-0.0005 if place % 2 == 0 else 0.0005))
        assert row.twin == pytest.approx(mean + (0.002 if n < 8 else -0.002))
        beaten = (row.beats_attention, row.beats_shuffled, row.beats_twin)
        assert beaten == (place <= 7, place % 2 == 1, n < 8)
    without = ranking(rank(own, twin, rules=rules), "token", False, "zero", "l2")
    assert [row.mean - 0.1 for row in without] == pytest.approx([row.mean for row in rows])


def test_what_is_not_defined_ranks_last() -> None:
    values = np.array([np.nan, 2.0, 1.0, np.nan, 3.0])
    assert best_first(values, lower_is_better=True).tolist() == [2, 1, 4, 0, 3]
    assert best_first(values, lower_is_better=False).tolist() == [4, 1, 2, 0, 3]


def test_rules_can_be_ranked_apart_and_layers_one_by_one(tmp_path: Path) -> None:
    found = estimate(run_by_hand(tmp_path), draws=100)
    alone = rank(found, rules=("product",))
    assert {row.rule for row in alone} == {"product"}
    assert max(row.rank for row in alone) == len(PAIRS) // 2
    by_layer = rank(found, by_layer=True)
    assert {row.layer for row in by_layer} == {0, 3}
    assert len(by_layer) == 2 * 2 * len(DIRECT) * len(METRICS) * len(PAIRS)
