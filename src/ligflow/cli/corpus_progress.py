"""Where a run stands while it goes on, and what is said of it when it ends."""

import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from ligflow.cli.streams import console, errors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ligflow.corpus.runs.progress import OnProgress
    from ligflow.corpus.runs.store import Run

_STOPPED = 130  # the exit code of a command that Ctrl-C ended


@contextmanager
def bar_of(items: str) -> "Iterator[OnProgress]":
    """A bar of items on a terminal, with rate and time left, else lines in a log; notes go to both."""
    screen = errors()
    if not screen.is_terminal:
        yield _in_lines(screen, items)
        return
    columns = (
        TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(),
        TextColumn(items), TextColumn("{task.fields[rate]}"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=screen, transient=True) as bar:
        tasks: dict[str, Any] = {}
        since: dict[str, tuple[float, int]] = {}

        def show(state: Any) -> None:
            if state.part not in tasks:
                tasks[state.part] = bar.add_task(state.part, total=None, rate="")
            if state.of_sentences:
                since.setdefault(state.part, (time.monotonic(), state.sentences))
            began, before = since.get(state.part, (0.0, 0))
            minutes = (time.monotonic() - began) / 60
            rate = f"{(state.sentences - before) / minutes:.0f} a minute" if state.sentences > before else ""
            bar.update(
                tasks[state.part], description=f"{state.part}: {state.doing}", completed=state.sentences,
                total=state.of_sentences or None, rate=rate,
            )  # fmt: skip
            if state.note:
                screen.print(Text(state.note))

        yield show


def _in_lines(screen: Console, items: str) -> "OnProgress":
    from ligflow.progress import Lines

    parts: dict[str, Lines] = {}

    def show(state: Any) -> None:
        if state.of_sentences and state.part not in parts:  # a run may go on from where it stood
            said = partial(_say_of, screen, state.part)
            parts[state.part] = Lines(items, said, state.sentences)
        if state.part in parts:
            parts[state.part](state.sentences, state.of_sentences)
        if state.note:
            screen.print(Text(state.note))

    return show


def _say_of(screen: Console, part: str, line: str) -> None:
    screen.print(Text(f"{part}: {line}"))


def say_end(whole: "Run", twins: list[str]) -> None:
    """What was done, and what to do next."""
    begun = {run.folder.name: run for of_kind in whole.twins.values() for run in of_kind}
    for each in (whole, *(begun[name] for name in twins if name in begun)):
        if each.missing:
            done = len(each.done)
            errors().print(
                Text(f"Stopped: {done} of {each.shards} shards of {each.folder} are done, and safe. "
                     "Run the same command again to go on.")
            )  # fmt: skip
            raise typer.Exit(_STOPPED)
    if not begun.keys() >= {*twins}:
        raise typer.Exit(_STOPPED)
    left_out = sum(whole.left_out(shard) for shard in range(whole.shards))
    bad = whole.manifest["corpus"]["bad_lines"]
    count = int(whole.manifest["sentences"])
    words = [f"{count - left_out} of {count} {whole.kind.items} explained"]
    words += [f"{left_out} left out (the report says why)"] if left_out else []
    words += [f"{bad} malformed lines skipped"] if bad else []
    console().print(Text(f"{', '.join(words)}: {whole.folder}"), soft_wrap=True)
    console().print(Text(f"Next: ligflow corpus report {whole.folder}"), soft_wrap=True)
