"""Folders that are kept for one writer."""

from pathlib import Path

import pytest

from ligflow import LigflowError
from ligflow.corpus.runs.folders import locked
from ligflow.corpus.runs.runner import run
from ligflow.corpus.runs.store import Run
from ligflow.corpus.runs.worker import Model
from small_runs import SMALL, corpus

pytestmark = pytest.mark.usefixtures("no_shape_checks")


def test_two_runs_in_one_folder_at_once(whole: Run, small: Model) -> None:
    with locked(whole.folder), pytest.raises(LigflowError, match="Another run is at work"):
        run(whole.folder, corpus(), small, SMALL, shard_size=2)


def test_a_folder_that_cannot_be_made(tmp_path: Path, small: Model) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LigflowError, match="Cannot make the folder"):
        run(tmp_path / "file" / "run", corpus(), small, SMALL)
    with pytest.raises(LigflowError, match="Cannot make the folder"):
        run("/proc/none", corpus(), small, SMALL)
