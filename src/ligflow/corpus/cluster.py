"""Shards computed by the actors of a Ray cluster: an existing one, or one started on this machine."""

import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from ligflow.corpus.engines import TRIES, Engine, Stop, Workers
from ligflow.corpus.worker import Model, Outcome, Task, compute_shard, describe, loaded
from ligflow.errors import LigflowError
from ligflow.extras import need

_PATIENCE = 10.0  # seconds for a cluster to answer


def actors(
    device: str | None = None, workers: int | None = None, address: str | None = None, cpus: int = 1
) -> Engine:
    """`workers` actors (None: as many as the cluster has room for), each with a model of its own.

    `address` is that of a cluster; None takes the one that the environment names or that runs here, or
    starts one. Each actor has `cpus` cores, and on CUDA a GPU. The run's folder must be on storage that all
    machines share. The shard of an actor that is lost is computed again by a new one.

    Raises LigflowError if Ray is not installed, the cluster cannot be reached or has no room, or actors are
    lost again and again.
    """

    @contextmanager
    def opened(model: Model) -> Iterator[Workers]:
        ray = _ray()
        started = _connect(ray, address)
        try:
            gpus = 1 if device is not None and device.startswith("cuda") else 0
            count = workers or _room(ray, cpus, gpus)
            remote = ray.remote(num_cpus=cpus, num_gpus=gpus, max_restarts=0)(Worker)
            actor = partial(remote.remote, model, device, cpus)
            free = [actor()]

            def shards(task: Task, numbers: Sequence[int], stop: Stop) -> Iterator[Outcome]:
                free.extend(actor() for _ in range(min(count, len(numbers)) - 1))
                return _computed(ray, actor, free, task, list(numbers), stop)

            yield Workers(lambda: _result(ray, free[0].describe.remote()), shards)
        finally:
            if started:
                ray.shutdown()

    return opened


def _ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    need("ray", "--engine ray")
    import ray

    return ray


def _connect(ray: Any, address: str | None) -> bool:
    """Joins or starts a cluster; True if it was this call that did."""
    if ray.is_initialized():
        return False
    try:
        _knock(address)
        ray.init(address=address, log_to_driver=False, logging_level="error")
    except (OSError, ValueError, RuntimeError) as error:
        raise LigflowError(
            f"No Ray cluster could be reached at {address or 'this machine'!r}: {error}. Start one (ray "
            "start --head), or leave out --ray-address to start one here."
        ) from error
    return True


def _knock(address: str | None) -> None:
    """Fails at once where nothing answers; Ray itself tries for many minutes."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if port.isdecimal():
        socket.create_connection((host, int(port)), timeout=_PATIENCE).close()


def _room(ray: Any, cpus: int, gpus: int) -> int:
    """How many actors the cluster has room for."""
    has = ray.cluster_resources()
    room = int(has.get("CPU", 0)) // cpus
    if gpus:
        room = min(room, int(has.get("GPU", 0)))
    if not room:
        raise LigflowError(
            f"The Ray cluster has no room for an actor with {cpus} CPUs and {gpus} GPUs; it has "
            f"{has.get('CPU', 0):.0f} CPUs and {has.get('GPU', 0):.0f} GPUs."
        )
    return room


class Worker:
    """In an actor: a process that loads the model once, when it is first asked for something."""

    def __init__(self, model: Model, device: str | None, threads: int) -> None:
        self._model, self._loaded = model, (model, device, threads)

    def describe(self) -> dict[str, Any]:
        """The model, for the manifest."""
        return describe(loaded(*self._loaded), self._model)

    def compute(self, task: Task, shard: int) -> Outcome:
        """One shard, written to the run's folder."""
        return compute_shard(loaded(*self._loaded), task, shard)


def _result(ray: Any, reference: Any) -> Any:
    """What an actor returned, or the error that it raised."""
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None


def _computed(
    ray: Any, actor: Callable[[], Any], free: list[Any], task: Task, left: list[int], stop: Stop
) -> Iterator[Outcome]:
    """Outcomes as they come; never more shards begun than there are actors."""
    running: dict[Any, tuple[Any, int]] = {}
    lost, count = 0, len(free)
    while left or running:
        while left and free and not stop():
            worker, shard = free.pop(), left.pop(0)
            running[worker.compute.remote(task, shard)] = (worker, shard)
        if not running:
            return
        (done,), _ = ray.wait(list(running), num_returns=1)
        worker, shard = running.pop(done)
        try:
            outcome = _result(ray, done)
        except ray.exceptions.RayActorError as error:
            lost += 1
            _refuse_many(lost, count, error)
            left.insert(0, shard)
            free.append(actor())
            continue
        lost = 0
        free.append(worker)
        yield outcome


def _refuse_many(lost: int, count: int, error: Exception) -> None:
    if lost == TRIES * count:
        raise LigflowError(
            f"{lost} Ray actors were lost before any finished a shard. Finished shards are safe. {error}"
        ) from error
