"""Shards computed by processes: the same numbers, errors, Ctrl-C, kills."""

import json
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import pytest

import small_prompts
from ligflow import LigflowError
from ligflow.corpus.runs.engines import here, processes
from ligflow.corpus.runs.runner import run
from ligflow.corpus.runs.store import Run, open_run
from ligflow.corpus.runs.worker import Model
from small_runs import SMALL, TEXTS, close, corpus, stopping

pytestmark = pytest.mark.usefixtures("no_shape_checks")


def test_processes_give_the_same(tmp_path: Path, whole: Run, small: Model) -> None:
    found = run(tmp_path, corpus(), small, SMALL, shard_size=2, engine=processes([None], 2))
    close(found, whole)


@pytest.mark.slow
def test_processes_explain_prompts_as_one_does(tmp_path: Path, predictions: Run, speaker: str) -> None:
    found = small_prompts.run_on(speaker, tmp_path, engine=processes([None], 2))
    assert not found.missing
    small_prompts.close(found, predictions)


def test_an_error_in_a_process_is_the_error_of_the_run(tmp_path: Path) -> None:
    with pytest.raises(LigflowError, match="Unknown embedded model"):
        run(tmp_path, corpus(), Model("embedded:none"), SMALL, engine=processes([None], 1))


@pytest.mark.slow
def test_a_second_ctrl_c_with_processes_stops_them_at_once(tmp_path: Path, whole: Run) -> None:
    """One worker has a shard that would take minutes; nothing of it is left, and the run goes on."""
    texts = (*TEXTS, " ".join(["word"] * 300))
    engine = processes([None], 2)
    told = stopping(5, presses=2)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, corpus(texts), shard_size=1, engine=engine, progress=told)
    assert open_run(tmp_path).missing == [5]
    assert not list(tmp_path.glob("shards/.*"))
    assert not multiprocessing.active_children()


@pytest.mark.slow
def test_ctrl_c_with_processes(tmp_path: Path, whole: Run, small: Model) -> None:
    engine = processes([None], 2)
    found = run(tmp_path, corpus(), small, SMALL, shard_size=1, engine=engine, progress=stopping(1))
    assert 1 <= len(found.done) <= 3
    again = run(tmp_path, corpus(), small, SMALL, shard_size=1, engine=here())
    close(again, whole)


def test_wrong_engines() -> None:
    with pytest.raises(LigflowError, match="workers is 0"):
        processes([None], 0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("engine", "kills", "worker_kills"), [("here", 3, 0), ("processes", 3, 0), ("ray", 2, 1)]
)
def test_killed_runs_end_as_if_nothing_had_happened(engine: str, kills: int, worker_kills: int) -> None:
    """SIGKILL at random moments; `benchmarks/kills.py --kills 12` does it more often, and on real weights."""
    script = Path(__file__).parents[3] / "benchmarks" / "kills.py"
    options = ["--engine", engine, "--kills", str(kills), "--worker-kills", str(worker_kills), "--tiny"]
    done = subprocess.run(
        [sys.executable, script, *options], capture_output=True, text=True, check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    found = json.loads(done.stdout.strip().splitlines()[-1])
    assert found["equal"], done.stdout
    assert found["kills"] >= kills + worker_kills
    assert found["left behind"] == 0
