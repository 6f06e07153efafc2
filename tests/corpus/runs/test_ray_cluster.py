"""Runs on a Ray cluster of real nodes: full at first, machines that are lost and that join, tokens."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from ligflow import LigflowError
from ligflow.corpus.runs.progress import Progress
from ligflow.corpus.runs.ray_engine import actors
from ligflow.corpus.runs.runner import run
from ligflow.corpus.runs.store import Run
from ligflow.corpus.sources.corpus import Corpus
from ligflow.corpus.sources.sentence import Sentence
from ligflow.corpus.tables.experiment import Experiment
from ligflow.corpus.tables.schema import TABLES

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("no_shape_checks"),
    pytest.mark.filterwarnings("ignore"),
]


ray: Any = pytest.importorskip("ray")


TEXT = "The old lighthouse keeper counted {} ships while the storm grew darker, and nobody saw the light."


CORPUS = Corpus(
    lambda: (Sentence(n, TEXT.format(n), f"made:{n}") for n in range(12)), {"source": "made"}
)  # fmt: skip


SMALL = Experiment(layers=(0,))


@pytest.fixture
def cluster() -> Iterator[Any]:
    """One whose head has no room for workers."""
    from ray.cluster_utils import Cluster

    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    yield found
    ray.shutdown()
    found.shutdown()


def on_ray(folder: Path, cluster: Any, told: Any, **options: Any) -> Run:
    engine = actors(address=cluster.address, **options)
    return run(folder, CORPUS, experiment=SMALL, shard_size=2, engine=engine, progress=told)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The run in one process, with one thread, as every worker has."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    run_alone = run(tmp_path_factory.mktemp("alone"), CORPUS, experiment=SMALL, shard_size=2)
    torch.set_num_threads(threads)
    return run_alone


def assert_as_alone(found: Run, alone: Run) -> None:
    """Bit for bit."""
    assert not found.missing
    for shard in range(found.shards):
        for name in TABLES:
            assert found.table(shard, name).equals(alone.table(shard, name))
    assert not list(found.folder.glob("shards/.*"))


def test_a_cluster_that_is_full_loses_machines_and_gets_others(
    tmp_path: Path, cluster: Any, alone: Run
) -> None:
    """Two machines come when the run says that it waits; each is lost, and a third one comes between."""
    nodes: dict[str, Any] = {}
    notes: list[str] = []

    def told(state: Progress) -> None:
        if state.note and not nodes:
            notes.append(state.note)
            nodes["a"], nodes["b"] = (cluster.add_node(num_cpus=1) for _ in range(2))
        if state.shards == 1 and "b" in nodes:  # no room elsewhere: the run goes on with what is left
            cluster.remove_node(nodes.pop("b"), allow_graceful=False)
        if state.shards == 3 and "a" in nodes:  # room elsewhere
            nodes["c"] = cluster.add_node(num_cpus=1)
            cluster.remove_node(nodes.pop("a"), allow_graceful=False)

    found = on_ray(tmp_path / "run", cluster, told)
    assert [*nodes] == ["c"]
    assert len(notes) == 1
    assert "waits for room on the Ray cluster: a worker takes 1 CPU (0 of 0 are free)" in notes[0]
    assert "no machine has as many" in notes[0]
    assert_as_alone(found, alone)


def test_a_cluster_whose_cores_are_taken_by_others(tmp_path: Path, cluster: Any, alone: Run) -> None:
    """Ctrl-C ends the waiting; a run that waits begins when the others end."""

    def stops(state: Progress) -> None:
        if state.note.startswith("waits"):
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        on_ray(tmp_path / "run", cluster, stops)
    cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False, logging_level="error")
    other = ray.remote(num_cpus=1)(lambda: time.sleep(10_000)).remote()
    while ray.available_resources().get("CPU"):
        time.sleep(0.1)
    notes: list[str] = []

    def told(state: Progress) -> None:
        if state.note and not notes:
            notes.append(state.note)
            ray.cancel(other, force=True)

    found = on_ray(tmp_path / "run", cluster, told)
    assert len(notes) == 1
    assert notes[0].endswith("a worker takes 1 CPU (0 of 1 are free)")
    assert_as_alone(found, alone)


def test_a_cluster_that_asks_for_a_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = [sys.executable, "-m", "ray.scripts.scripts"]
    home, port = {"HOME": str(tmp_path), "RAY_AUTH_MODE": "token"}, "6397"
    there = os.environ | home
    subprocess.run([*command, "get-auth-token", "--generate"], env=there, check=True, capture_output=True)
    options = ["--head", "--port", port, "--num-cpus", "1", "--include-dashboard=false", "--block"]
    head = subprocess.Popen(
        [*command, "start", *options], env=there, start_new_session=True, stdout=-3, stderr=-3
    )
    try:
        monkeypatch.setenv("HOME", str(tmp_path / "elsewhere"))
        address = f"127.0.0.1:{port}"
        found = "Connection refused"
        while "refused" in found:
            assert head.poll() is None
            with pytest.raises(LigflowError, match="No Ray cluster could be reached") as caught:
                run(tmp_path / "run", CORPUS, experiment=SMALL, engine=actors(address=address))
            found = str(caught.value)
        assert "it asks for a token, and there is none here" in found
        assert "RAY_AUTH_TOKEN" in found
    finally:
        os.killpg(head.pid, signal.SIGTERM)
        head.wait()
