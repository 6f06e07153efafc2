"""A run's folder: damage is named, what was left is tidied, what happens is logged."""

import logging
from pathlib import Path

import pytest

from ligflow import LigflowError
from ligflow.corpus.runs.runner import run
from ligflow.corpus.runs.store import Run, open_run
from ligflow.corpus.runs.worker import Model
from small_runs import SMALL, corpus, equal, stopping

pytestmark = pytest.mark.usefixtures("no_shape_checks")


def test_what_a_killed_writer_left_is_tidied_away(tmp_path: Path, whole: Run, small: Model) -> None:
    run(tmp_path, corpus(), small, SMALL, shard_size=2, progress=stopping(1))
    left = tmp_path / "shards" / ".00001.abc.part"
    left.mkdir()
    (left / "metrics.parquet").write_bytes(b"half")
    found = run(tmp_path, corpus(), small, SMALL, shard_size=2)
    assert not left.exists()
    assert equal(found, whole)


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(LigflowError, match="holds no run"):
        open_run(tmp_path)
    for text in ("[]", "{", "[" * 100_000):
        (tmp_path / "manifest.json").write_text(text)
        with pytest.raises(LigflowError, match="is no manifest"):
            open_run(tmp_path)
    (tmp_path / "manifest.json").write_text('{"format": 99}')
    with pytest.raises(LigflowError, match="upgrade ligflow"):
        open_run(tmp_path)


def test_what_a_run_logs_can_be_heard(
    whole: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    found = Run(tmp_path, whole.manifest)
    found.log("heard by nobody")
    with caplog.at_level(logging.INFO, logger="ligflow.corpus"):
        found.log("heard")
    assert [one.getMessage() for one in caplog.records] == [f"{tmp_path}: heard"]
    lines = (tmp_path / "run.log").read_text().splitlines()
    assert [line.split(" ", 1)[1] for line in lines] == ["heard by nobody", "heard"]
    assert capfd.readouterr() == ("", "")
    silent = logging.getLogger("ligflow").handlers
    assert [type(one) for one in silent] == [logging.NullHandler]


def test_a_missing_file_is_named_and_recomputed_on_request(damaged: Run, whole: Run, small: Model) -> None:
    (damaged.place(1) / "cells.parquet").unlink()
    with pytest.raises(LigflowError, match=r"Shard 1 of .* is damaged: cells.parquet is missing"):
        run(damaged.folder, corpus(), small, SMALL, shard_size=2)
    assert equal(run(damaged.folder, corpus(), small, SMALL, shard_size=2, redo_damaged=True), whole)
    assert "shard 1 is damaged" in (damaged.folder / "run.log").read_text()


@pytest.mark.parametrize("where", [100, -100, None])
def test_a_changed_file_is_named_and_recomputed_on_request(
    damaged: Run, whole: Run, where: int | None, small: Model
) -> None:
    path = damaged.place(2) / "metrics.parquet"
    content = bytearray(path.read_bytes())
    if where is None:
        content = content[: len(content) // 2]
    else:
        content[where] ^= 0xFF
    path.write_bytes(content)
    assert damaged.damage(2) == "metrics.parquet is not as it was written"
    with pytest.raises(LigflowError, match=r"metrics.parquet' \(shard 2\) is damaged"):
        damaged.table(2, "metrics")
    assert equal(run(damaged.folder, corpus(), small, SMALL, shard_size=2, redo_damaged=True), whole)


def test_a_shard_without_its_seal_is_damaged(damaged: Run) -> None:
    (damaged.place(0) / "shard.json").write_text("{")
    assert str(damaged.damage(0)).startswith("shard.json: it cannot be read (")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "it cannot be read"),
        ("[]", "Input should be a valid dictionary"),
        ("{}", "files: Field required"),
        ('{"files": {"cells.parquet": 3}}', "files.cells.parquet: Input should be a valid string"),
        ('{"files": {}}', "files: lacks cells.parquet, metrics.parquet, sentences.parquet"),
    ],
)
def test_a_wrong_field_of_a_seal_is_named(damaged: Run, text: str, said: str) -> None:
    (damaged.place(0) / "shard.json").write_text(text)
    assert said in str(damaged.damage(0))
    assert damaged.damage(1) is None
    with pytest.raises(
        LigflowError, match=r"shard.json' \(shard 0\) is damaged or missing: .*--redo-damaged"
    ) as error:
        damaged.table(0, "cells")
    assert said in str(error.value)
