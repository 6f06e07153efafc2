"""Who computes the shards: this process, or processes of this machine (`ray_engine` has the actors of Ray).

An engine opens workers for a model; they know nothing of manifests or progress, and each writes its shards
into the run's folder itself. A pool that breaks is made anew: those of loky and joblib restart workers by
themselves, but know no devices that these take in turn.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for
from multiprocessing.queues import Queue
from typing import Any

from ligflow.corpus.runs.watch import LOOK, Watch, look
from ligflow.corpus.runs.worker import (
    Model,
    Outcome,
    Task,
    compute_shard,
    compute_shard_apart,
    describe,
    loaded,
)
from ligflow.errors import LigflowError

TRIES = 3  # how often workers may die before anything gets done

_device: str | None = None  # of this worker process
_threads: int | None = None


@dataclass(frozen=True)
class Workers:
    """`describe` says what model they have; `shards` computes shards and yields what is done."""

    describe: Callable[[], dict[str, Any]]
    shards: Callable[[Task, Sequence[int]], Iterator[Outcome]]


Engine = Callable[[Model, Watch], AbstractContextManager[Workers]]


def here(device: str | None = None) -> Engine:
    """One shard after the other in this process."""

    @contextmanager
    def opened(model: Model, watch: Watch) -> Iterator[Workers]:
        def shards(task: Task, numbers: Sequence[int]) -> Iterator[Outcome]:
            for shard in numbers:
                if watch.stop():
                    return
                yield compute_shard(loaded(model, device), task, shard, watch.ticked)

        yield Workers(lambda: describe(loaded(model, device), model), shards)

    return opened


def processes(devices: Sequence[str | None], workers: int) -> Engine:
    """`workers` processes, which take the devices in turn; on a CPU they share its cores.

    If one dies, new ones are started, and its shard is computed again. Raises LigflowError if that does
    not help.
    """
    if workers < 1:
        raise LigflowError(f"workers is {workers}; give a whole number from 1.")

    @contextmanager
    def opened(model: Model, watch: Watch) -> Iterator[Workers]:
        theirs, ours = multiprocessing.Pipe(duplex=False)  # workers end when our end is closed
        pools = [_pool(devices, workers, theirs)]

        def shards(task: Task, numbers: Sequence[int]) -> Iterator[Outcome]:
            left, deaths = list(numbers), 0
            while left and not watch.stop():
                try:
                    for outcome in _computed(pools[-1], workers, model, task, left, watch):
                        left.remove(outcome.shard)
                        deaths = 0
                        yield outcome
                except BrokenProcessPool as error:
                    deaths += 1
                    _refuse_many(deaths, error)
                    pools.append(_pool(devices, workers, theirs))
                    for shard in left:
                        watch.lost(shard)

        try:
            yield Workers(lambda: pools[-1].submit(_describe, model).result(), shards)
        except KeyboardInterrupt:
            ours.close()  # nothing is waited for
            raise
        finally:
            for pool in pools:
                pool.shutdown(cancel_futures=True)
            ours.close()
            theirs.close()

    return opened


def _refuse_many(deaths: int, error: BrokenProcessPool) -> None:
    if deaths == TRIES:
        raise LigflowError(
            f"Worker processes died {deaths} times without finishing a shard (killed for memory?). Finished "
            "shards are safe; try fewer --workers or a smaller --batch-size."
        ) from error


def _pool(devices: Sequence[str | None], workers: int, lifeline: Connection) -> ProcessPoolExecutor:
    context = multiprocessing.get_context("spawn")
    places: Queue[str | None] = context.Queue()
    for number in range(workers):
        places.put(devices[number % len(devices)])
    threads = max(1, (os.cpu_count() or 1) // workers)
    return ProcessPoolExecutor(workers, context, _begin, (places, threads, lifeline))


def _begin(places: "Queue[str | None]", threads: int, lifeline: Connection) -> None:
    """In a new worker: its device. Ctrl-C is the parent's business; it ends when that says so, or ends."""
    global _device, _threads
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, args=[lifeline], daemon=True).start()
    _device, _threads = places.get(), threads


def _end_with_parent(lifeline: Connection) -> None:
    parent = multiprocessing.parent_process()
    wait_for([lifeline] if parent is None else [lifeline, parent.sentinel])
    os._exit(1)


def _describe(model: Model) -> dict[str, Any]:
    return describe(loaded(model, _device, _threads), model)


def _compute(model: Model, task: Task, shard: int) -> Outcome:
    return compute_shard_apart(loaded(model, _device, _threads), task, shard)


def _computed(
    pool: ProcessPoolExecutor, workers: int, model: Model, task: Task, numbers: Sequence[int], watch: Watch
) -> Iterator[Outcome]:
    """Outcomes as they come; never more shards begun than there are workers."""
    left = list(numbers)
    running: dict[Future[Outcome], int] = {}
    while left or running:
        while left and len(running) < workers and not watch.stop():
            shard = left.pop(0)
            running[pool.submit(_compute, model, task, shard)] = shard
            watch.ticked(shard, 0)
        if not running:
            return
        done, _ = wait(running, timeout=LOOK, return_when=FIRST_COMPLETED)
        look(watch, task.folder, list(running.values()))
        for future in done:
            del running[future]
            yield future.result()
