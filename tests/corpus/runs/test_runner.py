"""A run as a whole: planned once, continued, the same however it is cut."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from ligflow import LigflowError
from ligflow.corpus.runs.progress import EXPLAINING, LOADING, READING, Progress
from ligflow.corpus.runs.runner import run
from ligflow.corpus.runs.store import Run
from ligflow.corpus.runs.worker import Model
from ligflow.corpus.tables.experiment import Experiment
from ligflow.corpus.tables.schema import TABLES
from small_runs import SMALL, close, corpus, tables

pytestmark = pytest.mark.usefixtures("no_shape_checks")


def test_a_run_has_a_manifest_tables_and_a_log(whole: Run, small: Model) -> None:
    manifest = json.loads((whole.folder / "manifest.json").read_text())
    assert (manifest["sentences"], manifest["shards"], manifest["shard_size"]) == (5, 3, 2)
    assert manifest["model"]["name"] == small.name
    assert manifest["model"]["layers"] == 2
    assert manifest["settings"]["layers"] == [0]
    assert manifest["corpus"]["source"] == "made"
    assert len(manifest["corpus"]["fingerprint"]) == 64
    assert manifest["versions"]["torch"] == torch.__version__
    assert whole.done == [0, 1, 2]
    found = tables(whole)
    assert {name: table.schema for name, table in found.items()} == TABLES
    assert found["sentences"]["sentence"].to_pylist() == [0, 1, 2, 3, 4]
    assert found["sentences"]["left_out"].null_count == 5
    lines = (whole.folder / "run.log").read_text().splitlines()
    assert "begun: 5 sentences in 3 shards" in lines[0]
    assert lines[-1].endswith("complete")
    assert not list(whole.folder.glob("shards/.*"))


def test_running_again_computes_nothing(whole: Run, small: Model) -> None:
    before = {path: path.stat().st_mtime_ns for path in whole.folder.glob("shards/*/*")}
    told: list[Progress] = []
    run(whole.folder, corpus(), small, SMALL, shard_size=2, progress=told.append)
    assert {path: path.stat().st_mtime_ns for path in whole.folder.glob("shards/*/*")} == before
    doing = [Progress("model", READING, 0, 0, 0, 0), Progress("model", LOADING, 0, 0, 0, 0)]
    assert told == [*doing, Progress("model", EXPLAINING, 3, 3, 5, 5)]


@pytest.mark.parametrize("kwargs", [{"batch_size": 1}, {"batch_size": 2}, {"shard_size": 5}])
def test_batches_and_shards_change_only_rounding(
    tmp_path: Path, whole: Run, kwargs: dict[str, int], small: Model
) -> None:
    close(run(tmp_path, corpus(), small, SMALL, **({"shard_size": 2} | kwargs)), whole)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"shard_size": 0}, "shard_size is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"experiment": Experiment(layers=(6,))}, "no layer 6: there are 6"),
        ({"model": Model("embedded:none")}, "Unknown embedded model"),
        ({"model": Model(dtype="bfloat16")}, "dtype is 'bfloat16'"),
    ],
)
def test_bad_arguments_leave_no_run_behind(tmp_path: Path, kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(LigflowError, match=message):
        run(tmp_path, corpus(), **kwargs)
    assert not (tmp_path / "manifest.json").exists()
