"""Jobs, computed one at a time in the order they came; what is finished stays in memory, for a while.

An executor would tell no place in the queue, and wait at exit for the job at work.
"""

import logging
import secrets
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any

from ligflow.errors import LigflowError
from ligflow.progress import asked_between_points

Progress = Callable[[int, int], None]  # steps done (layers, segments), of how many
QUEUED, RUNNING, DONE, FAILED, CANCELLED = "queued", "running", "done", "failed", "cancelled"
KEEP_BYTES = 2**30  # results together; the newest is kept whatever its size
_CLOSING = 10.0  # seconds that closing waits for the points in work
_BROKEN = (
    "The computation failed inside the server, and its log says why. Other texts can still be explained; "
    "try again, or report it with that log."
)
_log = logging.getLogger(__name__)


class Full(LigflowError):
    """No place in the queue."""


class Unknown(LigflowError):
    """No job of that name."""


class Unfinished(LigflowError):
    """A job that has no result (yet)."""


class _Cancelled(Exception):
    """Ends a computation from within, between two points; says why, where nobody asked for it."""


@dataclass(frozen=True)
class Result:
    """What a job made, and what it is."""

    content: bytes
    media_type: str = "application/octet-stream"


Work = Callable[[Progress], Result]


@dataclass(eq=False)
class Job:
    """What is known of a job. `asked` is when its client last did; `stop` asks a running one to end."""

    id: str
    asked: float
    state: str = QUEUED
    done: int = 0
    of: int = 0
    error: str | None = None
    result: Result | None = None
    stop: bool = False

    @property
    def size(self) -> int:
        """Bytes of the result."""
        return 0 if self.result is None else len(self.result.content)


class Queue:
    """Up to `limit` waiting jobs and one thread that computes them, as a context manager.

    At most `keep` jobs that are over are kept, and `keep_bytes` of results; the oldest is dropped first.
    A job that nobody asks about for `patience` seconds is given up: its client has gone without a word.
    """

    def __init__(
        self, limit: int = 64, keep: int = 32, keep_bytes: int = KEEP_BYTES, patience: float = 90.0
    ) -> None:
        self._limit, self._keep, self._keep_bytes, self._patience = limit, keep, keep_bytes, patience
        self._jobs: dict[str, Job] = {}
        self._waiting: dict[str, Work] = {}  # by the name of its job, in the order they came
        self._over: deque[Job] = deque()
        self._running: Job | None = None
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._serve, name="ligflow-jobs", daemon=True)

    def __enter__(self) -> "Queue":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Cancels everything, and waits a while for the points in work."""
        with self._changed:
            self._closed = True
            if self._running is not None:
                self._running.stop = True
            self._changed.notify_all()
        self._thread.join(_CLOSING)

    def add(self, work: Work) -> dict[str, Any]:
        """The new job's state. Raises Full if too many are waiting."""
        with self._changed:
            self._give_up_waiting()
            if len(self._waiting) >= self._limit:
                raise Full(
                    f"{self._limit} requests are waiting already, the most there may be; try again soon."
                )
            job = Job(secrets.token_urlsafe(12), monotonic())
            self._jobs[job.id], self._waiting[job.id] = job, work
            self._changed.notify_all()
            return self._describe(job)

    def state(self, name: str) -> dict[str, Any]:
        """Where a job stands. Raises Unknown."""
        with self._changed:
            return self._describe(self._job(name))

    def cancel(self, name: str) -> dict[str, Any]:
        """Takes a job out of the queue, or ends it after the points in work; what is over stays so."""
        with self._changed:
            job = self._job(name)
            if job.state == QUEUED:
                del self._waiting[job.id]
                self._end(job, CANCELLED)
            elif job.state == RUNNING:
                job.stop = True
            return self._describe(job)

    def result(self, name: str) -> Result:
        """What a job made. Raises Unknown, and Unfinished where there is nothing (yet)."""
        with self._changed:
            job = self._job(name)
            if job.result is not None:
                return job.result
            if job.state in (QUEUED, RUNNING):
                raise Unfinished(f"The job is still {job.state}; ask again when its state is done.")
            raise Unfinished(f"The job has {job.state}, so there is no result. {job.error or ''}".strip())

    def _job(self, name: str) -> Job:
        if name not in self._jobs:
            raise Unknown(
                f"There is no job {name[:40]!r}. Jobs that are over are forgotten when there are more than "
                f"{self._keep}, and all of them when the server ends; send the text again."
            )
        self._jobs[name].asked = monotonic()
        return self._jobs[name]

    def _describe(self, job: Job) -> dict[str, Any]:
        place = [*self._waiting].index(job.id) + 1 if job.state == QUEUED else None
        description = {"id": job.id, "state": job.state, "place": place, "done": job.done, "of": job.of}
        cancelling = job.state == RUNNING and job.stop
        return description | {"cancelling": cancelling, "error": job.error, "bytes": job.size}

    def _serve(self) -> None:
        while (next_job := self._next()) is not None:
            self._compute(*next_job)

    def _next(self) -> tuple[Job, Work] | None:
        """Waits for a job; None once the queue is closed."""
        with self._changed:
            self._changed.wait_for(self._has_work)
            if self._closed:
                return None
            name = next(iter(self._waiting))
            job, work = self._jobs[name], self._waiting.pop(name)
            self._running, job.state = job, RUNNING
            return job, work

    def _has_work(self) -> bool:
        """Whether a job waits that somebody waits for, or the queue is closed."""
        self._give_up_waiting()
        return self._closed or bool(self._waiting)

    def _compute(self, job: Job, work: Work) -> None:
        """Whatever happens to one job, the thread goes on with the next."""
        try:
            with asked_between_points(lambda: self._go_on(job)):
                result = work(lambda done, of: self._progress(job, done, of))
        except _Cancelled as why:
            self._ended(job, CANCELLED, str(why) or None)
        except LigflowError as problem:
            self._ended(job, FAILED, str(problem))
        except Exception:
            _log.exception("a job failed")
            self._ended(job, FAILED, _BROKEN)
        else:
            self._ended(job, DONE, result=result)

    def _progress(self, job: Job, done: int, of: int) -> None:
        with self._changed:
            job.done, job.of = done, of
        self._go_on(job)

    def _go_on(self, job: Job) -> None:
        """Ends a computation that was cancelled, or whose client has gone."""
        with self._changed:
            if job.stop:
                raise _Cancelled
            if self._is_left(job):
                raise _Cancelled(self._left())

    def _is_left(self, job: Job) -> bool:
        return monotonic() - job.asked > self._patience

    def _left(self) -> str:
        return (
            f"Nobody asked about this job for {self._patience:.0f} s, so it was given up; send it again, "
            "and ask for its state meanwhile."
        )

    def _give_up_waiting(self) -> None:
        """Takes those out of the queue whose clients have gone."""
        for name in [name for name in self._waiting if self._is_left(self._jobs[name])]:
            del self._waiting[name]
            self._end(self._jobs[name], CANCELLED, self._left())

    def _ended(self, job: Job, state: str, error: str | None = None, result: Result | None = None) -> None:
        with self._changed:
            self._running = None
            self._end(job, state, error, result)

    def _end(self, job: Job, state: str, error: str | None = None, result: Result | None = None) -> None:
        """Keeps the job among those that are over, and drops the oldest of them where there are too many."""
        job.state, job.error, job.result = state, error, result
        self._over.append(job)
        while len(self._over) > max(self._keep, 1) or (len(self._over) > 1 and self._held > self._keep_bytes):
            del self._jobs[self._over.popleft().id]

    @property
    def _held(self) -> int:
        return sum(job.size for job in self._over)
