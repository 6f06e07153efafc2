"""A report as a whole: words, tables, figures, twins, what cannot be reported."""

import json
import shutil
from pathlib import Path

import pandas
import pytest

from ligflow import LigflowError
from ligflow.corpus.reports.report import report
from ligflow.corpus.runs.store import open_run
from ligflow.corpus.tables.experiment import VARIANTS
from ligflow.corpus.tables.schema import DIRECT, PAIRS, RULES
from ligflow.evaluation.consistency import METRICS
from runs_by_hand import run_by_hand

pytestmark = pytest.mark.usefixtures("no_shape_checks")


def test_a_report_has_words_tables_and_figures(written: Path) -> None:
    names = {path.name for path in written.parent.iterdir()}
    shapes = [f"layers-{direct}-{rule}" for direct in DIRECT for rule in ("conserving", "product")]
    pictures = {f"{name}.{kind}" for name in ["pairs", *shapes] for kind in ("svg", "png")}
    tables = {
        "pairs.csv",
        "layers.csv",
        "controls.csv",
        "verdicts.csv",
        "genres.csv",
        "completeness.csv",
        "left_out.csv",
    }
    assert names == pictures | tables | {"completeness.csv", "pairs.tex", "report.md"}
    text = written.read_text()
    for heading in (
        "Over tokens: does the paper's finding hold?", "Over words: what agrees best", "Completeness",
        "Flipped signs", "Left out", "Settings and versions",
    ):  # fmt: skip
        assert f"## {heading}" in text
    assert "13 sentences explained, 1 left out." in text
    assert "new weights" in text


def test_a_report_can_be_read_as_a_table(written: Path) -> None:
    pairs = pandas.read_csv(written.parent / "pairs.csv")
    count = 2 * 2 * len(DIRECT) * len(METRICS) * len(PAIRS) * len(RULES)
    assert len(pairs) == count
    first = pairs[(pairs["rank"] == 1) & (pairs.metric == "l2")]
    assert (first.att == "itb").all()
    held = pandas.read_csv(written.parent / "controls.csv")
    assert held.control.value_counts().to_dict() == dict.fromkeys(
        ("shuffled", "attention", "new weights"), count
    )
    said = pandas.read_csv(written.parent / "verdicts.csv")
    assert len(said) == 2 * 2 * len(DIRECT) * (1 + len(METRICS))
    assert (said.outcome == "holds")[said.ranking != "paper"].all()
    assert (said.named_mlp == "att_itb_a0")[said.ranking == "l2"].all()
    assert pandas.read_csv(written.parent / "left_out.csv")["sentence"].tolist() == [4]
    assert len(pandas.read_csv(written.parent / "completeness.csv")) == len(VARIANTS) * 3


def test_a_twin_elsewhere(tmp_path: Path, no_figures: None) -> None:
    one, other = run_by_hand(tmp_path / "one"), run_by_hand(tmp_path / "other")
    manifest = json.loads((other.folder / "manifest.json").read_text())
    manifest["model"]["weights"] = "new weights, seed 3"
    (other.folder / "manifest.json").write_text(json.dumps(manifest))
    assert "the best, new weights" in report(one.folder, twin=other.folder, draws=100).read_text()
    assert "new weights" not in report(one.folder, tmp_path / "alone", draws=100).read_text()


def test_runs_without_a_result(tmp_path: Path) -> None:
    with pytest.raises(LigflowError, match="holds no run"):
        report(tmp_path)
    with pytest.raises(LigflowError, match=r"No shard of .* holds an explained sentence yet"):
        report(run_by_hand(tmp_path / "new", unfinished=3).folder)
    reasons = dict.fromkeys(range(12), "too long")
    with pytest.raises(LigflowError, match="holds an explained sentence"):
        report(run_by_hand(tmp_path / "none", left_out=reasons).folder)


def test_a_damaged_shard_is_named(tmp_path: Path) -> None:
    found = run_by_hand(tmp_path)
    path = found.place(1) / "metrics.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(LigflowError, match=r"metrics.parquet' \(shard 1\) is damaged"):
        report(found.folder)


def test_a_report_that_cannot_be_written(tmp_path: Path) -> None:
    found = run_by_hand(tmp_path / "run")
    (tmp_path / "file").write_text("")
    with pytest.raises(LigflowError, match="The report cannot be written"):
        report(found.folder, tmp_path / "file" / "out", draws=100)


def test_a_run_that_was_moved_can_be_reported(tmp_path: Path, no_figures: None) -> None:
    found = run_by_hand(tmp_path / "run")
    moved = shutil.move(found.folder, tmp_path / "moved")
    assert report(moved, draws=100).is_file()
    assert open_run(moved).done == [0, 1, 2]
