"""Pairs ranked: order, paired differences, and what may be the best."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest

from favoured_pairs import GOOD, favouring
from ligflow.corpus.analysis.estimates import estimate
from ligflow.corpus.analysis.rankings import best_first, rank, ranking
from ligflow.corpus.tables import schema
from ligflow.corpus.tables.schema import ATT, DIRECT, RULES
from ligflow.evaluation.consistency import METRICS
from runs_by_hand import Row, run_by_hand

pytestmark = pytest.mark.usefixtures("no_shape_checks")

PAIRS = [(att, mlp, rule) for (att, mlp), rule in product(schema.PAIRS, RULES)]
MEANS = [metric for metric in METRICS if metric != "relative_l2"]  # over rows


def test_the_best_is_first_under_every_metric(tmp_path: Path) -> None:
    best_pair = ("itb", "att_itb_a0", "conserving")
    ranked = rank(estimate(run_by_hand(tmp_path, change=favouring(*best_pair)), draws=200))
    for metric in METRICS:
        rows = ranking(ranked, "token", False, "zero", metric)
        assert [row.rank for row in rows] == list(range(1, len(PAIRS) + 1))
        first = rows[0]
        assert first.pair == best_pair
        assert first.mean == pytest.approx(GOOD[metric])
        assert (first.low, first.high) == pytest.approx((GOOD[metric],) * 2)
        assert first.difference > 0
        assert first.may_be_best
        assert not any(row.may_be_best for row in rows[1:])
        means = [row.mean for row in rows]
        assert means == sorted(means, reverse=metric in ("pearson", "spearman", "top_k"))


def stepped(row: Row) -> None:
    """Every pair varies alike from sentence to sentence, and is 0.001 worse than the one before it."""
    step = 0.0 if row["att"] is None else 0.001 * PAIRS.index((row["att"], row["mlp"], row["rule"]))
    row["l2"] = np.random.default_rng(row["sentence"]).uniform(1, 2) + step


def test_differences_to_the_best_are_paired(tmp_path: Path) -> None:
    """Each pair is unsure, their differences are not."""
    ranked = rank(estimate(run_by_hand(tmp_path, change=stepped), draws=200))
    rows = ranking(ranked, "token", True, "itb", "l2")
    assert [row.pair for row in rows] == PAIRS
    assert rows[1].high - rows[1].low > 0.1
    assert [row.difference for row in rows] == pytest.approx(
        [0.001, *(-0.001 * n for n in range(1, len(PAIRS)))], abs=1e-6
    )
    assert [row.may_be_best for row in rows] == [True] + [False] * (len(PAIRS) - 1)
    assert rows[4].difference_low == pytest.approx(-0.004, abs=1e-5)
    assert rows[0].difference_low == rows[4].difference_high == 0  # constrained intervals


def test_pairs_that_chance_alone_tells_apart_may_all_be_the_best(tmp_path: Path) -> None:
    """All pairs have the same law: some are ahead, and most of all rankings still hold them all."""
    ranked = rank(estimate(run_by_hand(tmp_path, sentences=30, layers=(0,)), draws=200))
    share = np.mean([row.may_be_best for row in ranked])
    assert share > 0.9
    assert {row.rank for row in ranked if row.may_be_best} == set(range(1, len(PAIRS) + 1))


@pytest.mark.parametrize("rules", [("product", "conserving"), ("product",)])
def test_every_number_of_a_ranking_is_of_its_own_pair(tmp_path: Path, rules: tuple[str, ...]) -> None:
    """The l2 of a pair is noise of the sentence and 0.01 times its place in a mixed order."""
    places = np.random.default_rng(1).permutation(len(PAIRS))

    def mixed(row: Row) -> None:
        noise = np.random.default_rng(row["sentence"]).uniform(1, 2) + (0.0 if row["diagonal"] else 0.1)
        pair = PAIRS.index((row["att"], row["mlp"], row["rule"])) if row["att"] is not None else 0
        row["l2"] = noise + 0.01 * places[pair]

    found = rank(estimate(run_by_hand(tmp_path, layers=(0,), change=mixed), draws=100), rules=rules)
    rows = ranking(found, "token", True, "zero", "l2")
    order = sorted((int(places[n]), pair) for n, pair in enumerate(PAIRS) if pair[2] in rules)
    assert [row.pair for row in rows] == [pair for _, pair in order]
    for row, (place, _) in zip(rows[1:], order[1:], strict=True):
        assert row.mean - rows[0].mean == pytest.approx(0.01 * (place - order[0][0]))
        assert row.difference == pytest.approx(-0.01 * (place - order[0][0]))
        assert row.rows == 30  # targets of 12 sentences
    without = ranking(found, "token", False, "zero", "l2")
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


def test_a_pair_that_is_not_compared_with_a_direct_map_is_not_ranked_for_it(tmp_path: Path) -> None:
    def of_another(row: Row) -> bool:
        return row["direct"] == "zero" and row["att"] == "itb"

    ranked = rank(estimate(run_by_hand(tmp_path, drop=of_another), draws=100))
    assert {row.att for row in ranking(ranked, "token", True, "zero", "l2")} == set(ATT) - {"itb"}
    assert {row.att for row in ranking(ranked, "token", True, "itb", "l2")} == set(ATT)
