"""Head profiles as files."""

from pathlib import Path

import pandas
import pytest

from ligflow.corpus.reports.head_page import write
from ligflow.corpus.runs.store import Run

pytestmark = pytest.mark.usefixtures("no_shape_checks")


def test_files_of_a_run(kept: Run, tmp_path: Path) -> None:
    page = write(kept.folder, tmp_path / "out", draws=200)
    names = {"heads.md", "heads.csv", "heads.parquet", "heads.svg", "heads.png"}
    names |= {"relations.csv", "relations.parquet"}
    assert {path.name for path in page.parent.iterdir()} == names
    text = page.read_text(encoding="utf-8")
    assert "2 sentences" in text
    assert "- layer 0, head 2: mainly previous" in text
    assert "| any relation | dependent to head | 2 | -1 | 0.50 | " in text
    assert "No head of 24 is surely better than the best fixed offset at any of 2 questions" in text
    frame = pandas.read_parquet(page.parent / "heads.parquet")
    read = pandas.read_csv(page.parent / "heads.csv")
    pandas.testing.assert_frame_equal(frame, read.astype(frame.dtypes))
    relations = pandas.read_csv(page.parent / "relations.csv")
    assert len(relations) == 2 * 24
    assert (relations.outcome == "cannot be told").all()  # one sentence has heads
