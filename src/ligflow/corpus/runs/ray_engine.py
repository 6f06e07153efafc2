"""Shards computed by the actors of a Ray cluster: an existing one, or one started on this machine.

An actor is asked for wherever there may be a place for a model, and Ray puts it there when there is room: at
once, when other work ends, when a machine joins. Only an actor that is there gets a shard, so that no shard
waits for a place, and that of an actor that is lost is computed by the next one. (Ray's plain tasks run in
whichever process idles: more models in memory than were asked for, and on the wrong GPU.)
"""

import os
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from ligflow.corpus.runs.engines import TRIES, Engine, Workers
from ligflow.corpus.runs.watch import LOOK, Watch, look
from ligflow.corpus.runs.worker import Model, Outcome, Task, compute_shard_apart, describe, loaded
from ligflow.errors import LigflowError

_PATIENCE = 10.0  # seconds for a cluster to answer, and for a process to begin
_BUSY = 120.0  # seconds for one whose port is open: on a machine at many times its load Ray took over 30
_MACHINES = 5.0  # seconds between two looks at which machines there are
_NO_TOKEN = (
    "it asks for a token, and there is none here, or another one. Set RAY_AUTH_MODE=token, and "
    "RAY_AUTH_TOKEN to what `ray get-auth-token` prints on the cluster, or RAY_AUTH_TOKEN_PATH to a file."
)
_ASK = "import ray, sys; ray.init(address=sys.argv[1], log_to_driver=False, logging_level='error')"


def actors(
    device: str | None = None, workers: int | None = None, address: str | None = None, cpus: int = 1
) -> Engine:
    """`workers` actors (None: as many as the cluster has room for), each with a model of its own.

    `address` is that of a cluster; None takes the one that the environment names or that runs here, or
    starts one. Each actor has `cpus` cores, and on CUDA a GPU. The run's folder must be on storage that all
    machines share. Where a cluster is full, or has no machine that is large enough, the run says so and
    waits; machines that join are used, and of those that are lost the shards are computed again.

    Raises LigflowError if Ray is not installed, the cluster cannot be reached, or workers are lost again and
    again with the same shard or before they have a model.
    """

    @contextmanager
    def opened(model: Model, watch: Watch) -> Iterator[Workers]:
        ray = _ray()
        started = _connect(ray, address)
        gpus = 1 if device is not None and device.startswith("cuda") else 0
        remote = ray.remote(num_cpus=cpus, num_gpus=gpus, max_restarts=0)(Worker)
        pool = _Pool(ray, partial(remote.remote, model, device, cpus), workers, cpus, gpus, watch)
        try:
            yield Workers(pool.describe, pool.shards)
        finally:
            pool.end()
            if started:
                ray.shutdown()

    return opened


class Worker:
    """In an actor: a process that loads the model once, when it is first asked for something."""

    def __init__(self, model: Model, device: str | None, threads: int) -> None:
        self._model, self._loaded = model, (model, device, threads)

    def describe(self) -> dict[str, Any]:
        """The model, for the manifest."""
        return describe(loaded(*self._loaded), self._model)

    def compute(self, task: Task, shard: int) -> Outcome:
        """One shard, written to the run's folder."""
        return compute_shard_apart(loaded(*self._loaded), task, shard)


class _Pool:
    """Actors that were asked for, those that are there and free, and those at work on a shard."""

    def __init__(
        self, ray: Any, actor: Callable[[], Any], workers: int | None, cpus: int, gpus: int, watch: Watch
    ) -> None:
        self._ray, self._actor, self._workers, self._watch = ray, actor, workers, watch
        self._needs = {"CPU": cpus, "GPU": gpus}
        self._asked: dict[Any, Any] = {}  # actors, by what says that their model is loaded
        self._free: list[Any] = []
        self._running: dict[Any, tuple[Any, int]] = {}  # actors and shards, by what says that one is done
        self._losses: Counter[int | None] = Counter()  # by shard; None: before the model was loaded
        self._room, self._looked, self._idle, self._said = 1, 0.0, 0.0, ""
        self._about: dict[str, Any] = {}

    def describe(self) -> dict[str, Any]:
        """The model, as the first actor that is there has it; KeyboardInterrupt if a stop is asked for."""
        while not self._about:
            if self._watch.stop():
                raise KeyboardInterrupt
            self._ask_for(1)
            list(self._wait([]))
        return self._about

    def shards(self, task: Task, numbers: Sequence[int]) -> Iterator[Outcome]:
        """Outcomes as they come."""
        left = list(numbers)
        while left or self._running:
            if self._watch.stop():
                left.clear()  # they are for the next time
            self._ask_for(min(self._most(), len(left) + len(self._running)))
            while left and self._free:
                actor, shard = self._free.pop(), left.pop(0)
                self._running[actor.compute.remote(task, shard)] = (actor, shard)
                self._watch.ticked(shard, 0)
            if left or self._running:
                yield from self._wait(left)
                look(self._watch, task.folder, [shard for _, shard in self._running.values()])

    def end(self) -> None:
        """Ends all actors, at work or not."""
        for actor in [*self._asked.values(), *self._free, *(actor for actor, _ in self._running.values())]:
            self._ray.kill(actor)

    def _most(self) -> int:
        """How many actors may be of use; what machines there are is looked at now and then."""
        if self._workers is None and time.monotonic() - self._looked > _MACHINES:
            self._looked = time.monotonic()
            self._room = max(1, sum(self._places(node["Resources"]) for node in self._machines()))
        return self._workers or self._room

    def _machines(self) -> list[dict[str, Any]]:
        return [node for node in self._ray.nodes() if node["Alive"]]

    def _places(self, resources: dict[str, float]) -> int:
        """How many actors have room in so much."""
        return min(int(resources.get(name, 0) // count) for name, count in self._needs.items() if count)

    def _ask_for(self, count: int) -> None:
        for _ in range(count - len(self._asked) - len(self._free) - len(self._running)):
            at_work = self._asked or self._free or self._running
            if not at_work and not self._places(self._ray.available_resources()):
                self._say_waiting()
            actor = self._actor()
            self._asked[actor.describe.remote()] = actor

    def _wait(self, left: list[int]) -> Iterator[Outcome]:
        """Waits for a moment; outcomes that have come. A shard whose actor is lost goes back to `left`."""
        ready, _ = self._ray.wait([*self._asked, *self._running], num_returns=1, timeout=LOOK)
        for reference in ready:
            actor, shard = (
                self._running.pop(reference)
                if reference in self._running
                else (self._asked.pop(reference), None)
            )
            try:
                result = self._ray.get(reference)
            except self._ray.exceptions.RayTaskError as error:
                raise error.cause from None
            except self._ray.exceptions.RayActorError as error:
                self._ray.kill(actor)
                self._lose(shard, left, error)
                continue
            self._losses[None] = 0
            self._free.append(actor)
            if isinstance(result, Outcome):
                yield result
            else:
                self._about = result
        self._notice_waiting()

    def _lose(self, shard: int | None, left: list[int], error: Exception) -> None:
        self._losses[shard] += 1
        if shard is not None:
            self._watch.lost(shard)
            left.insert(0, shard)
        allowed = TRIES * (self._most() if shard is None else 1)
        if self._losses[shard] == allowed:
            what = "before they had a model" if shard is None else f"with shard {shard}"
            raise LigflowError(
                f"Ray workers were lost {allowed} times {what} (killed for memory?). Finished shards are "
                f"safe. {error}"
            ) from error

    # --- waiting for room -------------------------------------------------------------------------

    def _notice_waiting(self) -> None:
        """Says so where nothing is at work for long, and there is no room."""
        if self._free or self._running or not self._asked:
            self._idle, self._said = 0.0, ""
            return
        self._idle = self._idle or time.monotonic()
        long = time.monotonic() - self._idle > _PATIENCE
        if long and not self._said and not self._places(self._ray.available_resources()):
            self._say_waiting()

    def _say_waiting(self) -> None:
        free, machines = self._ray.available_resources(), [one["Resources"] for one in self._machines()]
        whole = {name: sum(one.get(name, 0) for one in machines) for name in self._needs}
        words = [
            f"{count} {name}{'s' * (count > 1)} ({free.get(name, 0):.0f} of {whole[name]:.0f} are free)"
            for name, count in self._needs.items()
            if count
        ]
        large = "" if any(map(self._places, machines)) else ", and no machine has as many"
        said = f"room on the Ray cluster: a worker takes {' and '.join(words)}{large}"
        if said != self._said:
            self._said = said
            self._watch.waits(said)


# --- the cluster ----------------------------------------------------------------------------------


def _ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise LigflowError("--engine ray needs Ray: pip install 'ligflow[ray]'.") from error
    return ray


def _connect(ray: Any, address: str | None) -> bool:
    """Joins or starts a cluster; True if it was this call that did."""
    if ray.is_initialized():
        return False
    where = address or "auto"
    problem = "" if where == "local" else _problem(where)
    if problem and (address is not None or "RAY_ADDRESS" in os.environ or "Could not find" not in problem):
        raise LigflowError(
            f"No Ray cluster could be reached at {address or 'this machine'!r}: {problem} Start one (ray "
            "start --head), or leave out --ray-address to start one here."
        )
    ray.init(address="local" if problem else where, log_to_driver=False, logging_level="error")
    return True


def _problem(address: str) -> str:
    """Why a cluster does not take us; "" if it does. Asked by another process, whose errors can be read.

    Ray itself says on standard error that a token is refused, and tries on.
    """
    try:
        _knock(address)
    except OSError as error:
        return f"{error}."
    command = [sys.executable, "-c", _ASK, address]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, errors="replace") as process:
        assert process.stderr is not None
        patience, last = threading.Timer(_BUSY, process.kill), "it does not answer"
        patience.start()
        try:
            for line in process.stderr:
                last = line.strip() or last
                if "InvalidAuthToken" in line or "AuthenticationError" in line:
                    return _NO_TOKEN
            return f"{last.removeprefix('ConnectionError: ').rstrip('.')}." if process.wait() else ""
        finally:
            patience.cancel()
            process.kill()


def _knock(address: str) -> None:
    """Fails at once where nothing answers; Ray itself tries for many minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if port.isdecimal():
        socket.create_connection((host, int(port)), timeout=_PATIENCE).close()
