"""Standard output and standard error: how they are encoded, what is said on them, bars."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from ligflow.inputs.labels import printable
from ligflow.names import default_model


def speak_utf8() -> None:
    """Standard streams in UTF-8 whatever the code page; a terminal keeps its own, and escapes the rest."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding=None if stream.isatty() else "utf-8", errors="backslashreplace")


def console() -> Console:
    """Standard output."""
    return Console(highlight=False, soft_wrap=False)


def errors() -> Console:
    """Standard error."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def note(message: str) -> None:
    """Says on standard error what a reader should know beside a good result."""
    errors().print(Text(f"note: {printable(message)}"), soft_wrap=True)


def error(message: str) -> str:
    """A message as rich markup, with its own brackets kept."""
    shown = "\n".join(map(printable, message.split("\n")))
    return f"[bold red]error[/]: {escape(shown)}"


@contextmanager
def counted(what: str) -> Iterator[Callable[[int, int], None]]:
    """What is to be told (done, of): a bar on a terminal, which goes when it is done, else lines of a log."""
    from ligflow.progress import Lines, Stopwatch

    screen = errors()
    if not screen.is_terminal:
        yield Lines(what, lambda line: screen.print(Text(line)))
        return
    pace, said = TextColumn("{task.fields[pace]}"), Stopwatch(what.removesuffix("s"))
    columns = TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), pace
    with Progress(*columns, console=screen, transient=True) as bar:
        task = bar.add_task(what, total=None, pace="")
        yield lambda done, of: bar.update(task, completed=done, total=of, pace=said.words(done))


@cache
def loading(model: str | None) -> None:
    """Says once what is waited for, where standard error is a terminal: PyTorch and a model take seconds."""
    screen = errors()
    if screen.is_terminal:
        screen.print(Text(f"loading {printable(model or default_model())} ..."))
