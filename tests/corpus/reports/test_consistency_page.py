"""The page of a report: escaped, and honest about what is not known."""

from pathlib import Path

import numpy as np
import pytest

from ligflow.corpus.analysis.estimates import PAIRS, estimate
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
    rows = ranking(rank(estimate(found, draws=100)), "token", True, "itb", "spearman")
    assert len(rows) == len(PAIRS)
    assert all(np.isnan(row.mean) and not row.tied and row.rows == 0 for row in rows)
    assert "nan" in report(found.folder, draws=100).read_text()
    assert "--" in (found.folder / "report" / "pairs.tex").read_text()


def test_one_sentence_has_no_intervals_and_nothing_can_be_told_apart(
    tmp_path: Path, no_figures: None
) -> None:
    found = run_by_hand(tmp_path, sentences=1)
    rows = ranking(rank(estimate(found, draws=300)), "token", True, "itb", "l2")
    assert all(np.isnan(row.low) and np.isnan(row.high) and row.tied for row in rows)
    assert not any(row.beats_shuffled for row in rows)
    text = report(found.folder, draws=300).read_text()
    assert "Sentences: 1. Intervals from so few are too narrow" in text
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
    run_by_hand(tmp_path / "twin", unfinished=missing)
    text = report(one.folder, draws=100).read_text()
    line = f"The twin on random weights is not finished: {3 - missing} of 3 shards are in this report."
    assert line in text
    assert ("the best, random weights" in text) == (missing < 3)
