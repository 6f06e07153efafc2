"""Pairs beside their controls: values, differences, outcomes, and seeds of weights."""

from pathlib import Path

import numpy as np
import pytest

from ligflow.corpus.analysis.controls import Control, controls
from ligflow.corpus.analysis.estimates import estimate
from ligflow.corpus.analysis.rankings import Place
from ligflow.corpus.analysis.twins import over_seeds
from ligflow.corpus.tables.schema import DIRECT, PAIRS, RULES
from ligflow.evaluation.consistency import METRICS
from ligflow.evaluation.verdicts import BETTER, OPEN, WORSE
from runs_by_hand import Row, run_by_hand

pytestmark = pytest.mark.usefixtures("no_shape_checks")

PAIR = ("itb", "zero", "product")
HERE = Place("token", True, None, "itb", "l2")
KNOWN = {"shuffled": -0.0005, "attention": 0.02}


def known(row: Row) -> None:
    """Noise of the sentence, and known gaps to both controls of the run."""
    row["l2"] = np.random.default_rng(row["sentence"]).uniform(1, 2) + KNOWN.get(row["map"], 0.0)


def at(rows: list[Control], pair: tuple[str, str, str] = PAIR) -> dict[str, Control]:
    return {row.control: row for row in rows if row.of(HERE) and row.pair == pair}


def test_each_control_has_its_value_and_its_difference(tmp_path: Path) -> None:
    rows = controls(estimate(run_by_hand(tmp_path, change=known), draws=200))
    assert len(rows) == 2 * len(DIRECT) * len(METRICS) * 2 * len(PAIRS) * len(RULES)
    here = at(rows)
    for kind, gap in KNOWN.items():
        assert here[kind].value - here[kind].mean == pytest.approx(gap, abs=1e-6)
        bounds = (here[kind].low, here[kind].difference, here[kind].high)
        assert bounds == pytest.approx((-gap,) * 3, abs=1e-5)
    assert (here["shuffled"].outcome, here["attention"].outcome) == (WORSE, BETTER)


def test_pairs_and_controls_of_one_law_cannot_be_told_apart(tmp_path: Path) -> None:
    rows = controls(estimate(run_by_hand(tmp_path, sentences=30, layers=(0,)), draws=200))
    assert np.mean([row.outcome == OPEN for row in rows]) > 0.99


def test_a_control_that_a_pair_has_not_is_no_row(tmp_path: Path) -> None:
    def of_others(row: Row) -> bool:
        return row["map"] == "shuffled" and row["att"] != "itb"

    rows = controls(estimate(run_by_hand(tmp_path, drop=of_others), draws=100))
    assert set(at(rows)) == {"shuffled", "attention"}
    assert set(at(rows, ("zero", "zero", "product"))) == {"attention"}


def test_the_seed_of_the_weights_is_drawn_too(tmp_path: Path) -> None:
    """Five seeds that differ by more than sentences do: the trained pair is better than each, not surely."""

    def of_seed(seed: int) -> "object":
        def change(row: Row) -> None:
            known(row)
            row["l2"] += 0.01 + 0.05 * seed**2

        return change

    own = estimate(run_by_hand(tmp_path / "own", change=known), draws=300)
    every = [
        estimate(run_by_hand(tmp_path / str(seed), change=of_seed(seed)), draws=300)  # type: ignore[arg-type]
        for seed in range(5)
    ]
    one = at(controls(own, {"new weights": over_seeds("new weights", every[:1], 0)}))["new weights"]
    five = at(controls(own, {"new weights": over_seeds("new weights", every, 0)}))["new weights"]
    assert one.value - one.mean == pytest.approx(0.01, abs=1e-6)
    assert one.outcome == BETTER  # of this seed
    assert five.value - five.mean == pytest.approx(0.01 + 0.05 * 6, abs=1e-6)
    assert five.outcome == OPEN  # of any
    assert five.high - five.low > 0.5
