"""The page of a report: escaped, and honest about what is not known."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ligflow.corpus.analysis.controls import controls
from ligflow.corpus.analysis.estimates import estimate
from ligflow.corpus.analysis.rankings import rank, ranking
from ligflow.corpus.reports import latex_tables
from ligflow.corpus.reports.markdown import plain
from ligflow.corpus.reports.report import report
from runs_by_hand import Row, run_by_hand

pytestmark = pytest.mark.usefixtures("no_shape_checks")


def test_a_metric_that_is_never_defined(tmp_path: Path, no_figures: None) -> None:
    def change(row: Row) -> None:
        row["spearman"] = None

    found = run_by_hand(tmp_path, change=change)
    means = estimate(found, draws=100)
    rows = ranking(rank(means), "token", True, "itb", "spearman")
    assert len(rows) == len(means.pairs)
    assert all(np.isnan(row.mean) and not row.may_be_best and row.rows == 0 for row in rows)
    assert "nan" in report(found.folder, draws=100).read_text()
    assert "--" in (found.folder / "report" / "pairs.tex").read_text()


def test_one_sentence_has_no_intervals_and_nothing_can_be_told_apart(
    tmp_path: Path, no_figures: None
) -> None:
    found = run_by_hand(tmp_path, sentences=1)
    means = estimate(found, draws=300)
    rows = ranking(rank(means), "token", True, "itb", "l2")
    assert all(np.isnan(row.low) and np.isnan(row.high) and row.may_be_best for row in rows)
    assert {row.outcome for row in controls(means)} == {"cannot be told"}
    text = report(found.folder, draws=300).read_text()
    assert "Sentences: 1. Intervals of single means from so few are too narrow" in text
    assert "cannot be told" in text
    assert "**holds**" not in text  # whichever pair is best


def test_text_from_outside_is_escaped(written: Path) -> None:
    text = written.read_text()
    assert "<script>" not in text.replace("\\<script\\>", "")
    assert "\\<script\\>" in text
    assert "too long \\<i\\>" in text
    assert "expected \\| and \\<b\\>" in text
    tex = (written.parent / "pairs.tex").read_text()
    assert r"\input{y}" not in tex
    assert r"\textbackslash{}input\{y\}" in tex
    assert plain("a|b\nc*") == "a\\|b c\\*"
    assert latex_tables.escape("50% & _x_ #1 $") == r"50\% \& \_x\_ \#1 \$"


def test_an_unfinished_run_says_so(tmp_path: Path, no_figures: None) -> None:
    text = report(run_by_hand(tmp_path, unfinished=1).folder, draws=100).read_text()
    assert "The run is not finished: 2 of 3 shards are in this report." in text


@pytest.mark.parametrize("missing", [1, 3])
def test_an_unfinished_twin_says_so(tmp_path: Path, no_figures: None, missing: int) -> None:
    one = run_by_hand(tmp_path)
    run_by_hand(tmp_path / "twins" / "new-0", unfinished=missing)
    text = report(one.folder, draws=100).read_text()
    line = f"The run on new weights is not finished: {3 - missing} of 3 shards are in this report."
    assert line in text
    assert ("the best, new weights" in text) == (missing < 3)


def test_what_the_intervals_of_one_seed_say(tmp_path: Path, no_figures: None) -> None:
    one = run_by_hand(tmp_path)
    run_by_hand(tmp_path / "twins" / "new-0")
    text = report(one.folder, draws=100).read_text()
    assert "There is one seed of new weights: its intervals are over sentences" in text


def test_controls_of_the_best_pair_are_marked_where_it_is_no_better(tmp_path: Path, no_figures: None) -> None:
    def change(row: Row) -> None:
        row["l2"] = 1.0 if row["map"] == "attention" else 2.0

    text = report(run_by_hand(tmp_path, change=change).folder, draws=100).read_text()
    assert "| the best, raw attention |  |  | 1 (better) | " in text
    assert "| the best, its own values in random order |  |  | 2 (cannot be told) | " in text
    assert "Worse than raw attention (1). Cannot be told from its own values in random order (2)." in text


def test_genres_are_shown_apart(tmp_path: Path, no_figures: None) -> None:
    found = run_by_hand(tmp_path, about=lambda one: replace(one, genre="<b>" if one.number % 2 else "news"))
    text = report(found.folder, draws=100).read_text()
    assert "## By genre" in text
    assert "| \\<b\\> | 6 | `zero` | " in text
    assert "By genre" not in report(run_by_hand(tmp_path / "other").folder, draws=100).read_text()
