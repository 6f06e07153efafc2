"""How far a long computation is: a bar where somebody looks, lines in a log, and what the whole will take."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from time import perf_counter
from typing import Any

from tqdm.auto import tqdm

from ligflow.errors import LigflowError

Done = Callable[[int, int], None]  # how many are done, of how many (0: not known)
Progress = bool | Done
_DELAY = 2.0  # seconds before a bar that nobody asked for is shown
_LONG = 20.0  # seconds from which the whole is estimated
_APART = 10.0  # seconds at least between two lines in a log, and before the first

_between_points: ContextVar[Callable[[], None] | None] = ContextVar("between points", default=None)


@contextmanager
def asked_between_points(ask: Callable[[], None]) -> Iterator[None]:
    """`ask` is called between the points of every path in this thread, and ends the work where it raises."""
    before = _between_points.set(ask)
    try:
        yield
    finally:
        _between_points.reset(before)


def between_points() -> None:
    """A place at which a long computation may end: the model is put back as it was on the way out."""
    ask = _between_points.get()
    if ask is not None:
        ask()


@contextmanager
def told(progress: Progress | None, what: str, work: str = "") -> Iterator[Done | None]:
    """What is to be called as `what` (layers, texts) get done.

    A function is called itself. True is a bar. None is a bar on a terminal or in a notebook, once the work
    has taken two seconds; `TQDM_DISABLE` switches both off. Where the first of them shows that the whole
    takes more than 20 seconds, the bar says so of `work`, with the seconds of one.
    """
    if progress is not None and not callable(progress) and not isinstance(progress, bool):
        raise LigflowError(f"progress is {progress!r}; give True, False or a function of (done, of).")
    if progress is None and not _is_seen():
        yield None
    elif not isinstance(progress, bool) and progress is not None:
        yield progress
    elif progress is False:
        yield None
    else:
        delay = 0 if progress else _DELAY
        unit = what.removesuffix("s")
        off = os.environ.get("TQDM_DISABLE", "") not in (
            "",
            "0",
        )  # which tqdm's bars of notebooks do not read
        with tqdm(desc=what, unit=unit, delay=delay, leave=bool(progress), disable=off) as bar:
            yield _Counter(bar, work, unit)


class _Counter:
    """Moves a bar, and says once how long the whole will take."""

    def __init__(self, bar: Any, work: str, one: str) -> None:
        self.bar, self.work, self.one, self.began = bar, work, one, perf_counter()

    def __call__(self, count: int, total: int) -> None:
        self.bar.total = total or None
        self.bar.update(count - self.bar.n)
        if self.work and total and count and not self.bar.disable:
            each = (perf_counter() - self.began) / count
            if each * total > _LONG:
                words = f"{self.work}: about {duration_in_words(each * total)}, {_pace(each, self.one)}"
                self.bar.write(words, file=sys.stderr)
            self.work = ""


class Stopwatch:
    """How long one took, of so many that are done; a count that is 0 or falls begins anew."""

    def __init__(self, one: str, count: int = 0) -> None:
        self.one = one
        self._begin(count)

    def _begin(self, count: int) -> None:
        self.began, self.first, self.count = perf_counter(), count, count

    def seconds(self, count: int) -> float:
        """Seconds of one; 0 before the first is done."""
        if count < self.count or not count:
            self._begin(count)
        self.count = count
        return (perf_counter() - self.began) / (count - self.first) if count > self.first else 0.0

    def words(self, count: int) -> str:
        """`about 4 s a layer`; nothing before the first is done."""
        seconds = self.seconds(count)
        return f"about {_pace(seconds, self.one)}" if seconds else ""


class Lines:
    """Says how far a long computation is in lines, for a log: at most one per ten percent, or ten seconds."""

    def __init__(self, what: str, say: Callable[[str], None], count: int = 0) -> None:
        self.what, self.say, self.pace = what, say, Stopwatch(what.removesuffix("s"), count)
        self.since, self.next = perf_counter(), 0.0

    def __call__(self, count: int, total: int) -> None:
        """So many are done, of so many (0: not known)."""
        if count < self.pace.count or not count:
            self.next = 0.0
        seconds, now = self.pace.seconds(count), perf_counter()
        if seconds and self.next <= count < total and now - self.since >= _APART:
            pace, left = _pace(seconds, self.pace.one), duration_in_words(seconds * (total - count))
            self.say(f"{self.what}: {count} of {total}, about {pace}, about {left} left")
            self.since, self.next = now, count + total / 10


def size_in_words(count: int) -> str:
    """A number of bytes, in MB or GB."""
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{max(count / 1e6, 0.1):.1f} MB"


def duration_in_words(seconds: float) -> str:
    """Two digits are more than an estimate holds."""
    if seconds < 10:
        return f"{float(f'{seconds:.1g}'):g} s"
    if seconds < 100:
        return f"{round(seconds, -1):.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.1f} h"


def _pace(seconds: float, one: str) -> str:
    return f"{duration_in_words(seconds)} a {one}"


def _is_seen() -> bool:
    """Whether a bar would be seen: on a terminal, or in a notebook, whose bars are of another class."""
    return sys.stderr.isatty() or any(kind.__module__ == "tqdm.notebook" for kind in tqdm.__mro__)
