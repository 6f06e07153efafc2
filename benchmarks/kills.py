"""Runs that are killed (SIGKILL) at random moments and begun again: is any row lost, doubled or changed?

    python benchmarks/kills.py --engine here --kills 12
    python benchmarks/kills.py --engine processes --kills 12
    python benchmarks/kills.py --engine ray --kills 10 --worker-kills 3

The whole run is killed `--kills` times, then workers of it `--worker-kills` times (Ray), and at last it is
left to finish. Its tables must equal, row for row and bit for bit, those of a run that nothing disturbed.
"""

import json
import multiprocessing
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import psutil
import torch
import typer

from ligflow.corpus.runs.engines import Engine, here, processes
from ligflow.corpus.runs.ray_engine import actors
from ligflow.corpus.runs.runner import run
from ligflow.corpus.runs.store import Run, open_run
from ligflow.corpus.sources.corpus import Corpus
from ligflow.corpus.sources.sentence import Sentence
from ligflow.corpus.tables.experiment import Experiment
from ligflow.corpus.tables.schema import TABLES

SUBJECTS = ("The baker", "A tired nurse", "Her older brother", "Nobody in town")
ENDS = ("forgot the keys.", "saw the comet twice.", "wrote a long letter.", "sold the red boat.", "laughed.")


def sentences() -> Iterator[Sentence]:
    """Twenty short sentences."""
    for number in range(len(SUBJECTS) * len(ENDS)):
        start, end = SUBJECTS[number % len(SUBJECTS)], ENDS[number % len(ENDS)]
        yield Sentence(number, f"{start} {end}", f"made:{number}")


def engine_of(name: str, address: str | None) -> Engine:
    """An engine by name."""
    if name == "ray":
        return actors(workers=2, address=address)
    return here() if name == "here" else processes([None], 2)


def work(folder: str, name: str, address: str | None) -> None:
    """One process's attempt at the run, on one thread, as other engines: more round otherwise."""
    torch.set_num_threads(1)
    run(folder, Corpus(sentences, {"source": "made"}), experiment=Experiment(layers=(0,)),
        engine=engine_of(name, address), shard_size=2)  # fmt: skip


def disturbed(folder: Path, name: str, address: str | None, kills: int, worker_kills: int, seed: int) -> int:
    """Kills and begins again, until the run is complete; the number of kills that hit it at work."""
    draw, hits = random.Random(seed), 0
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["ligflow.corpus.runs.runner"])
    while True:
        process = context.Process(target=work, args=(str(folder), name, address))
        process.start()
        if hits < kills:
            if hits % 3:  # the third at any moment, the others when shards are computed
                _wait_for_work(folder, process)
            process.join(draw.uniform(0.0, 3.0))
            if process.is_alive():
                process.kill()
                hits += 1
        elif hits < kills + worker_kills:
            hits += _kill_worker(process)
        process.join()
        if complete(folder):
            if hits >= kills + worker_kills:
                return hits
            _undo(folder, draw)


def _wait_for_work(folder: Path, process: multiprocessing.process.BaseProcess) -> None:
    """Until the process has begun to compute shards, or has ended."""
    before = begun(folder)
    while process.is_alive() and begun(folder) == before:
        time.sleep(0.01)


def begun(folder: Path) -> int:
    """How often shards were begun to be computed."""
    log = folder / "run.log"
    return log.read_text().count("to compute") if log.is_file() else 0


def _kill_worker(process: multiprocessing.process.BaseProcess) -> int:
    """Kills one actor of this benchmark's cluster while it computes; 1 if there was one."""
    while process.is_alive():
        for one in psutil.Process().children(recursive=True):
            try:
                if "".join(one.cmdline()).startswith("ray::Worker.compute"):
                    one.kill()
                    return 1
            except psutil.NoSuchProcess:
                continue
        time.sleep(0.01)
    return 0


def _undo(folder: Path, draw: random.Random) -> None:
    """It finished before it was killed often enough: some shards are taken away again."""
    found = open_run(folder)
    for shard in draw.sample(found.done, k=found.shards - 1):
        found.remove(shard)


def complete(folder: Path) -> bool:
    """Whether every shard is there."""
    return (folder / "manifest.json").is_file() and not open_run(folder).missing


def same(one: Run, other: Run) -> bool:
    """Whether all tables of all shards are equal, row for row."""
    return one.shards == other.shards and all(
        one.table(shard, name).equals(other.table(shard, name))
        for shard in range(one.shards)
        for name in TABLES
    )


def main(
    engine: Literal["here", "processes", "ray"] = "here",
    kills: int = 10,
    worker_kills: int = 0,
    seed: int = 0,
) -> None:
    """Prints what was done as JSON; exit code 1 if a row differs."""
    if worker_kills and engine != "ray":
        raise typer.BadParameter("--worker-kills is for --engine ray, whose actors have a name.")
    with tempfile.TemporaryDirectory() as scratch:
        whole, broken, cluster, address = Path(scratch, "whole"), Path(scratch, "broken"), None, None
        if engine == "ray":
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            from ray.cluster_utils import Cluster

            cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
            address = cluster.address
        try:
            work(str(whole), "here", None)
            hits = disturbed(broken, engine, address, kills, worker_kills, seed)
        finally:
            if cluster is not None:
                cluster.shutdown()  # type: ignore[no-untyped-call]
        equal, left = same(open_run(whole), open_run(broken)), list(broken.glob("shards/.*"))
        times = begun(broken)
    found = {"engine": engine, "kills": hits, "begun": times, "equal": equal, "left behind": len(left)}
    print(json.dumps(found))
    sys.exit(0 if equal and not left else 1)


if __name__ == "__main__":
    typer.run(main)
