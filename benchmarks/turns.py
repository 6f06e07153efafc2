"""CPU seconds of whole calls in two checkouts, in turns: what a change of the code brought.

    python benchmarks/turns.py BEFORE [--only minilm,gpt2] [--repeats 5]

BEFORE is the folder of another checkout. The calls are those of `profile_calls.py`, in a process for each
checkout, whose ligflow it imports; one call that does not count comes first.
"""

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

import measure
from measure import Row, number, text
from profile_calls import SUBJECTS, Only

HERE = Path(__file__)
COLUMNS: measure.Columns = {
    "what": text("what"),
    "tokens": number("tokens", "d"),
    "before, s": number("before", ".3f"),
    "now, s": number("now", ".3f"),
    "times": number("times", ".2f"),
}
Before = Annotated[Path | None, typer.Argument(help="The folder of another checkout.")]
Worker = Annotated[bool, typer.Option("--worker", hidden=True)]


def main(
    before: Before = None,
    only: Only = "minilm,gpt2",
    repeats: measure.Repeats = 5,
    worker: Worker = False,
    out: measure.Out = None,
) -> None:
    """Measure calls in another checkout and in this one."""
    machine = measure.machine(measure.place("cpu", 1))
    if worker:
        answer(only)
        return
    if before is None or not (before / "src").is_dir():
        raise SystemExit(f"{before} is no checkout of ligflow; name the folder of one that has src in it.")
    rows = [row for name in only.split(",") for row in in_turns(name, before, repeats)]
    caption = "The least CPU seconds of runs in turns, on one thread; times: now over before."
    measure.report("turns", out, machine, {"repeats": repeats}, rows, COLUMNS, caption)


def answer(name: str) -> None:
    """Runs the calls of a subject, one for each line that comes in, and says its CPU seconds."""
    for what, tokens, call in SUBJECTS[name]():
        call()
        print(what, tokens, sep="\t", flush=True)
        while input():
            print(measure.cpu_seconds(call), flush=True)


def in_turns(name: str, before: Path, repeats: int) -> list[Row]:
    """The calls of a subject in both checkouts."""
    rows = list[Row]()
    with ExitStack() as stack:
        roots = before.resolve(), HERE.parents[1]
        workers = [stack.enter_context(started(name, root)) for root in roots]
        while heads := [head for worker in workers if (head := heard(worker))]:
            what, tokens = heads[0].split("\t")
            turns = [[float(told(worker, "once more")) for worker in workers] for _ in range(repeats)]
            for worker in workers:
                said(worker, "")
            old, new = (min(spent) for spent in zip(*turns, strict=True))
            rows.append({"what": what, "tokens": int(tokens), "before": old, "now": new, "times": new / old})
    return rows


def started(name: str, root: Path) -> "subprocess.Popen[str]":
    """A process that runs the calls of a subject with the ligflow of a checkout."""
    command = [sys.executable, str(HERE), "--worker", "--only", name]
    return subprocess.Popen(
        command, env=os.environ | {"PYTHONPATH": str(root / "src")}, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def told(worker: "subprocess.Popen[str]", line: str) -> str:
    """What a worker answers to a line."""
    said(worker, line)
    return heard(worker)


def said(worker: "subprocess.Popen[str]", line: str) -> None:
    assert worker.stdin is not None
    worker.stdin.write(line + "\n")
    worker.stdin.flush()


def heard(worker: "subprocess.Popen[str]") -> str:
    """The next line of a worker; empty when it has ended."""
    assert worker.stdout is not None
    return worker.stdout.readline().strip()


if __name__ == "__main__":
    measure.run(main)
