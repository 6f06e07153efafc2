"""A run that is done once, and a copy with a damaged shard."""

from pathlib import Path

import pytest
import torch

from ligflow.corpus.runs.runner import run
from ligflow.corpus.runs.store import Run, open_run
from ligflow.corpus.runs.worker import Model
from made_once import copy_made_once, made_once
from small_encoder import saved_encoder
from small_runs import SMALL, corpus


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A tiny random encoder, as a worker loads it."""
    return Model(str(made_once(tmp_path_factory, "small", lambda folder: saved_encoder(folder, 512))))


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory, small: Model) -> Run:
    """An uninterrupted run in shards of two, with the threads that fast tests have: they decide rounding."""

    def make(folder: Path) -> None:
        available = torch.get_num_threads()
        torch.set_num_threads(1)
        run(folder, corpus(), small, SMALL, shard_size=2)
        torch.set_num_threads(available)

    return open_run(copy_made_once(tmp_path_factory, "whole", make))


@pytest.fixture
def damaged(tmp_path: Path, whole: Run) -> Run:
    """A copy of the whole run, to be damaged."""
    import shutil

    return open_run(shutil.copytree(whole.folder, tmp_path / "copy"))
