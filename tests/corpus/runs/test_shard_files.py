"""Shards are there whole or not at all."""

import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from ligflow import LigflowError
from ligflow.corpus.runs.runner import run
from ligflow.corpus.runs.store import Run, open_run
from ligflow.corpus.runs.worker import Model
from runs_by_hand import run_by_hand
from small_runs import SMALL, corpus

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


LENGTHS = (1, 1, 7)  # of texts: the tables of the last one are larger
LIMIT = 150_000  # bytes of a file, more than the first two take


@pytest.fixture
def full_disk() -> Iterator[None]:
    """A limit on the size of files stands for a full disk: both end a write half way."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_keeps_what_is_done(tmp_path: Path, small: Model) -> None:
    texts = tuple("The cat slept. " * length for length in LENGTHS)
    with pytest.raises(LigflowError, match=r"Shard 2 could not be written.*Finished shards are safe"):
        run(tmp_path, corpus(texts), small, SMALL, shard_size=1)
    assert open_run(tmp_path).done == [0, 1]
    assert not list(tmp_path.glob("shards/.*"))
