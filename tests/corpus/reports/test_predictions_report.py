"""The report on a run on prompts: what it says first, its tables, pages of prompts, what it refuses."""

import base64
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

from ligflow import LigflowError
from ligflow.corpus import report
from ligflow.corpus.reports.report import reported
from ligflow.corpus.runs.store import Run, open_run
from made_predictions import HEADS, LAYERS, LENGTH, run_of
from runs_by_hand import run_by_hand

pytestmark = pytest.mark.usefixtures("no_shape_checks")


@pytest.fixture
def copied(tmp_path: Path, predictions: Run) -> Run:
    """A run that a test may change."""
    return open_run(shutil.copytree(predictions.folder, tmp_path / "copied"))


def values(number: int) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng([7, number])
    heads = draw.normal(0, 0.1, (LAYERS, HEADS, LENGTH))
    heads[0, 1] += 0.5 if number < 20 else 0.1
    return heads, draw.normal(0, 0.1, (LAYERS, LENGTH))


def dashboard(path: Path) -> Any:
    """What the page of all heads holds."""
    (block,) = re.findall(r'<script type="text/plain" class="data"[^>]*>([^<]*)<', path.read_text())
    return json.loads(base64.b64decode(block))


def test_what_is_said_first_and_the_tables(tmp_path: Path) -> None:
    groups = ["a*b"] * 20 + ["c"] * 20 + ["alone"]
    run = run_of(tmp_path / "run", values, 43, [*groups, None, None], left_out=[42])
    path, words = reported(run.folder, tmp_path / "out", 200, 0, None)
    assert words[:2] == ["Prompts: 42.", "1 prompts could not be explained (left_out.csv says why)."]
    assert words[2].startswith("The score changes by +1 on average; tokens add up to it within 1.0e-04")
    assert words[3].startswith("1 of 6 heads carries the task (the control stays below ")
    assert ": layer 0, head 1 +" in words[3]
    assert words[4].startswith("None of 2 MLPs carries the task")
    assert words[5] == "Without an interval, since they have one prompt: alone."
    assert words[6].startswith(
        "Group a*b (20 prompts) differs from the others in 1 component: layer 0, head 1 +"
    )
    said = path.read_text()
    assert "made \\<by\\> hand" in said
    assert "<b>" not in said
    assert "| layer 0, head 1 | +" in said
    table = pandas.read_parquet(tmp_path / "out" / "components.parquet")
    assert table[table.carries][["layer", "head"]].to_numpy().tolist() == [[0, 1]]
    as_csv = pandas.read_csv(tmp_path / "out" / "components.csv")
    assert as_csv["share"].tolist() == pytest.approx(table["share"].tolist())
    assert pandas.read_csv(tmp_path / "out" / "left_out.csv").to_numpy().tolist() == [
        [42, "made:43", "too long"]
    ]
    assert len(pandas.read_parquet(tmp_path / "out" / "groups.parquet")) == 3 * 8
    shown = dashboard(tmp_path / "out" / "heads.html")
    first = shown["components"][1]
    assert (first["name"], first["carries"]) == ("layer 0, head 1", "for")
    assert first["values"][0] == pytest.approx(table["share"][1])
    assert [measure["name"] for measure in shown["measures"]][-3:] == [
        "share in a*b",
        "share in c",
        "share in alone",
    ]
    best = first["examples"][0]
    assert best["relevance"] == pytest.approx(list(values(best["prompt"])[0][0, 1]))
    assert shown["prompts"][str(best["prompt"])]["tokens"] == [" Prompt", f" <i>{best['prompt']}"]


def test_heads_against_the_answer_are_counted_and_named(tmp_path: Path) -> None:
    def against(number: int) -> tuple[np.ndarray, np.ndarray]:
        heads, mlps = values(number)
        heads[0, 1], heads[1, 2] = 0.5, -0.4
        return heads, mlps

    run = run_of(tmp_path / "run", against, 40, [None] * 40)
    path, words = reported(run.folder, tmp_path / "out", 200, 0, None)
    assert words[2].startswith("2 of 6 heads carry the task, 1 of them against the answer (the control")
    rows = [line.split(" | ") for line in path.read_text().splitlines() if line.startswith("| layer")]
    carries = {row[0].strip("| "): row[4] for row in rows if len(row) > 4}
    assert (carries["layer 0, head 1"], carries["layer 1, head 2"]) == ("for", "against")
    parts = dashboard(tmp_path / "out" / "heads.html")["components"]
    shown = {part["name"]: part["carries"] for part in parts}
    assert (shown["layer 0, head 1"], shown["layer 1, head 2"]) == ("for", "against")


def test_a_run_that_is_not_finished_says_so(copied: Run, tmp_path: Path) -> None:
    copied.remove(2)
    said = report(copied.folder, tmp_path / "out", draws=100).read_text()
    assert "The run is not finished: 1 of 3 shards are missing." in said
    assert "Intervals from fewer than 30 are too narrow." in said


def test_pages_of_the_prompts_at_the_ends(predictions: Run, tmp_path: Path) -> None:
    path = report(predictions.folder, tmp_path, draws=100, pages=2)
    pages = sorted((tmp_path / "pages").glob("*.html"))
    assert len(pages) == 2
    for page in pages:
        assert f"](pages/{page.name})" in path.read_text()
        assert "the flow" in page.read_text()


def test_what_does_not_fit_to_the_kind_of_run(predictions: Run, tmp_path: Path) -> None:
    with pytest.raises(LigflowError, match="leave twin out"):
        report(predictions.folder, tmp_path, twin=tmp_path)
    with pytest.raises(LigflowError, match="leave pages out"):
        report(run_by_hand(tmp_path / "run").folder, tmp_path, pages=1)


def test_pages_of_another_model_are_refused(copied: Run, tmp_path: Path) -> None:
    manifest = copied.folder / "manifest.json"
    known = copied.manifest["model"]["fingerprint"]
    manifest.write_text(manifest.read_text().replace(known, "0" * 64))
    with pytest.raises(LigflowError, match="its weights have changed"):
        report(copied.folder, tmp_path / "out", draws=100, pages=1)
