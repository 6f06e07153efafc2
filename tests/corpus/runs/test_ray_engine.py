"""Shards computed by Ray: the same numbers, and what cannot be reached."""

import sys
import warnings
from pathlib import Path

import pytest

import small_prompts
from ligflow import LigflowError
from ligflow.corpus.runs.ray_engine import actors
from ligflow.corpus.runs.runner import run
from ligflow.corpus.runs.store import Run
from ligflow.corpus.runs.worker import Model
from small_runs import SMALL, close, corpus

pytestmark = pytest.mark.usefixtures("no_shape_checks")


@pytest.mark.slow
def test_ray_gives_the_same(tmp_path: Path, whole: Run, small: Model, predictions: Run, speaker: str) -> None:
    pytest.importorskip("ray")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        engine = actors(workers=2, address="local")
        found = run(tmp_path / "run", corpus(), small, SMALL, shard_size=2, engine=engine)
        close(found, whole)
        small_prompts.close(small_prompts.run_on(speaker, tmp_path / "prompts", engine=engine), predictions)
        with pytest.raises(LigflowError, match="Unknown embedded model"):
            run(tmp_path / "bad", corpus(), Model("embedded:none"), SMALL, engine=engine)


@pytest.mark.slow
def test_a_cluster_that_cannot_be_reached(tmp_path: Path, small: Model) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(LigflowError, match=r"No Ray cluster could be reached at '127.0.0.1:1'"):
            run(tmp_path, corpus(), small, SMALL, engine=actors(address="127.0.0.1:1"))


def test_ray_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: Model) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(LigflowError, match=r"pip install 'ligflow\[ray\]'"):
        run(tmp_path, corpus(), small, SMALL, engine=actors())
