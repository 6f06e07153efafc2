"""Where a run stands, shard by shard and sentence by sentence, and who is told."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from ligflow.corpus.runs.store import Run

READING, LOADING, EXPLAINING = "reading the corpus", "loading the model", "explaining"


@dataclass(frozen=True)
class Progress:
    """Where a run stands. `part` is `model`, or the name of a twin, such as `permuted-3`.

    `doing` is what it is at, in words; `note` something that a reader should know at once, mostly empty.
    """

    part: str
    doing: str
    shards: int
    of_shards: int
    sentences: int
    of_sentences: int
    note: str = ""


OnProgress = Callable[[Progress], None]


class Meter:
    """Counts what is done of one part of a run, and tells it.

    Sentences of shards at work count as their layers get done. It may be asked from another thread.
    """

    def __init__(self, part: str, report: OnProgress | None) -> None:
        self._part, self._report, self._lock = part, report, threading.Lock()
        self._run: Run | None = None
        self._doing = ""
        self._shards = self._sentences = 0
        self._at_work: dict[int, int] = {}
        self._began, self._before = 0.0, 0

    def say(self, doing: str | None = None, note: str = "") -> None:
        """Tells where the run stands; `doing` is what it is at from now on."""
        with self._lock:
            self._doing = doing or self._doing
            if self._report is not None:
                run, count = self._run, self._count()
                of = (0, 0) if run is None else (run.shards, int(run.manifest["sentences"]))
                self._report(Progress(self._part, self._doing, self._shards, of[0], count, of[1], note))

    def begin(self, run: Run) -> None:
        """The plan is known, and what is done of it."""
        done = run.done
        self._run, self._shards, self._sentences = run, len(done), sum(map(run.size, done))
        self._began, self._before = time.monotonic(), self._sentences
        self.say(EXPLAINING)

    def ticked(self, shard: int, sentences: int) -> None:
        """So many sentences of a shard at work are done; what was done once stays so."""
        if self._at_work.get(shard, -1) < sentences:
            self._at_work[shard] = sentences
            self.say(EXPLAINING)

    def finished(self, shard: int) -> None:
        """A shard is done."""
        assert self._run is not None
        self._at_work.pop(shard, None)
        self._shards, self._sentences = self._shards + 1, self._sentences + self._run.size(shard)
        self.say(EXPLAINING)

    def lost(self, shard: int) -> None:
        """A shard is not at work any more."""
        self._at_work.pop(shard, None)

    def answer(self) -> None:
        """Tells at once what a run that was asked to stop will still do, and for how long."""
        left = self._left()
        seconds = time.monotonic() - self._began
        speed = (self._count() - self._before) / seconds if seconds > 0 else 0
        about = f", about {_rounded(left / speed)}" if left and speed > 0 else ""
        items = "sentences" if self._run is None else self._run.kind.items
        called = items if left > 1 else items.removesuffix("s")
        what = f"finishing {left} {called}{about}" if left else "stopping"
        self.say(note=f"{what}; Ctrl-C again stops now")

    def _count(self) -> int:
        return self._sentences + sum(list(self._at_work.values()))

    def _left(self) -> int:
        """Sentences of shards at work that are not done."""
        run = self._run
        return 0 if run is None else sum(run.size(shard) - n for shard, n in list(self._at_work.items()))


def _rounded(seconds: float) -> str:
    return f"{max(1, round(seconds))} s" if seconds < 90 else f"{round(seconds / 60)} minutes"
