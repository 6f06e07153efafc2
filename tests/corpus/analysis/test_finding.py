"""The paper's finding: three outcomes, and how often chance decides it."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from favoured_pairs import favouring
from ligflow.corpus.analysis.estimates import Estimates, estimate
from ligflow.corpus.analysis.finding import NAMED, PAPER, verdicts
from ligflow.corpus.tables.schema import DIRECT, PAIRS, RULES
from ligflow.evaluation.consistency import METRICS
from ligflow.evaluation.verdicts import FAILS, HOLDS, OPEN
from made_clusters import drawn
from runs_by_hand import Row, run_by_hand

pytestmark = pytest.mark.usefixtures("no_shape_checks")


@pytest.mark.parametrize(
    ("pair", "outcome"), [(("itb", "zero", "product"), HOLDS), (("zero", "zero", "product"), FAILS)]
)
def test_a_planted_best_decides(tmp_path: Path, pair: tuple[str, str, str], outcome: str) -> None:
    found = verdicts(estimate(run_by_hand(tmp_path, change=favouring(*pair)), draws=200))
    assert {row.outcome for row in found} == {outcome}
    assert Counter(row.ranking for row in found) == dict.fromkeys((PAPER, *METRICS), 2 * len(DIRECT))
    for row in found:
        assert pair in (row.named, row.other)
        assert row.named[:2] in NAMED
        assert row.other[:2] not in NAMED
        assert (row.low > 0) if outcome == HOLDS else (row.high < 0)
    assert {(row.named[2], row.other[2]) for row in found if row.ranking == PAPER} == {("product", "product")}


def test_two_that_are_alike_leave_it_open(tmp_path: Path) -> None:
    def change(row: Row) -> None:
        for pair in (("itb", "zero", "product"), ("zero", "zero", "product")):
            favouring(*pair)(row)

    found = verdicts(estimate(run_by_hand(tmp_path, change=change), draws=200))
    assert {row.outcome for row in found} == {OPEN}
    assert {row.difference for row in found} == {0.0}


def test_one_sentence_decides_nothing(tmp_path: Path) -> None:
    found = verdicts(estimate(run_by_hand(tmp_path, sentences=1), draws=300))
    assert {row.outcome for row in found} == {OPEN}
    assert all(np.isnan(row.low) for row in found)


def by_chance(law: str, repeat: int) -> Estimates:
    """Means of 40 sentences whose pairs are all alike, every direct map and metric by itself."""
    others = tuple(("composed", *pair, rule) for pair in PAIRS for rule in RULES)
    shape = (1, 2, 1, len(DIRECT), len(others), len(METRICS))
    draw = np.random.default_rng(repeat)
    size = (40, int(np.prod(shape)))
    values = draw.normal(size=size) if law == "normal" else draw.standard_t(2, size)
    cells = np.full(shape, 40)
    draws = drawn(values, seed=repeat).reshape(-1, *shape)
    return Estimates(("token",), (), others, 40, 40, draws, cells, 0 * cells)


@pytest.mark.parametrize("law", ["normal", "heavy"])
def test_a_random_ranking_is_decided_in_five_per_cent_at_most(law: str) -> None:
    """Of about 400 verdicts on pairs of which none is better than another."""
    found = [row for repeat in range(8) for row in verdicts(by_chance(law, repeat))]
    wrong = np.mean([row.outcome != OPEN for row in found])
    assert wrong <= 0.05
    first = np.mean([row.difference > 0 for row in found])
    assert all(row.low > 0 for row in found if row.outcome == HOLDS)
    assert all(row.high < 0 for row in found if row.outcome == FAILS)
    assert 0.1 < first < 0.4  # the best pair is a named one in as many as there are, and decides nothing


def test_the_pairs_that_are_told_are_those_that_decide(tmp_path: Path) -> None:
    """The best other one is unsure; another, a little less good, is surely better than all that are named."""

    def change(row: Row) -> None:
        favouring("mean", "matched", "product")(row)
        if (row["att"], row["mlp"], row["rule"]) == ("zero", "zero", "product"):
            row["l2"] = 0.0 if row["sentence"] % 4 else 0.3

    rows = verdicts(estimate(run_by_hand(tmp_path, sentences=16, change=change), draws=200))
    for row in (row for row in rows if row.ranking == "l2"):
        assert (row.outcome, row.other) == (FAILS, ("mean", "matched", "product"))
        assert row.high < 0
