"""Shards are there whole or not at all."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from ligflow.corpus.runs.store import Run, open_run
from runs_by_hand import run_by_hand

pytestmark = pytest.mark.usefixtures("no_shape_checks")


def test_files_can_be_read_by_whom_the_folder_allows(whole: Run) -> None:
    modes = {path.stat().st_mode & 0o777 for path in whole.folder.glob("shards/*/*")}
    plain = whole.folder / "plain"
    plain.touch()
    assert modes == {plain.stat().st_mode & 0o777}
    plain.unlink()


def test_a_shard_is_there_only_when_all_of_it_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What another process finds while a shard is written: nothing, until all of it is synced."""
    seen: list[list[int]] = []
    sync = os.fsync

    def watched(handle: int) -> None:
        if (tmp_path / "manifest.json").is_file():  # the plan is written before, and synced too
            seen.append(open_run(tmp_path).done)
        sync(handle)

    monkeypatch.setattr(os, "fsync", watched)
    found = run_by_hand(tmp_path, sentences=2, shard_size=1, layers=(0,))
    files = ["cells.parquet", "metrics.parquet", "sentences.parquet", "shard.json"]
    assert sorted(path.name for path in found.place(1).iterdir()) == files
    assert seen == 5 * [[]] + 5 * [[0]]  # four files and their folder
    assert found.done == [0, 1]
    assert found.damage(0) is None


FULL = """
import resource, sys
from ligflow.corpus import Corpus, Experiment, Model, Sentence, run
from ligflow.corpus.runs.worker import loaded
loaded(Model())
def read():
    return (Sentence(n, "The cat slept. " * (1 + 6 * (n > 1)), "made") for n in range(3))
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
run(sys.argv[1], Corpus(read, {}), experiment=Experiment(layers=(0,)), shard_size=1)
"""


def test_a_full_disk_keeps_what_is_done(tmp_path: Path) -> None:
    """A limit on the size of files stands for a full disk: both end a write half way."""
    found = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path), "150000"], capture_output=True, text=True, check=False
    )
    assert "Shard 2 could not be written" in found.stderr
    assert "Finished shards are safe" in found.stderr
    assert open_run(tmp_path).done == [0, 1]
    assert not list(tmp_path.glob("shards/.*"))
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
