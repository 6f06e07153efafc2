"""How many threads: MiniLM's `explain` on one, two, and as many as the command chooses, beside a busy core.

    python benchmarks/threads.py

Seconds of the wall, the median of several calls, in a process of its own for each row, on a machine that
does nothing else, and with a process beside that keeps one core busy.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from time import perf_counter
from typing import Annotated

import typer

import measure
from measure import Row, number, text

COLUMNS: measure.Columns = {
    "busy cores beside": number("busy", ".0f"),
    "asked for": text("threads"),
    "threads": number("taken", ".0f"),
    "seconds": number("seconds", ".3f"),
    "of one thread's": number("ratio", ".2f"),
}
SENTENCE = (
    "The old lighthouse keeper counted the ships while the storm grew darker, and nobody else saw the light."
)
SHORT = "Rain fell."
BUSY = "while True: pass"
CHOSEN = "chosen"
CALLS = 9


def main(
    out: measure.Out = None,
    worker: Annotated[bool, typer.Option("--worker", hidden=True)] = False,
    calls: Annotated[int, typer.Option(help="Calls of a row.")] = CALLS,
    tiny: measure.Tiny = False,
    busy: Annotated[str, typer.Option(help="So many busy processes beside, with commas between.")] = "0,1",
) -> None:
    """Runs every row, and writes the table."""
    if worker:
        work(calls, SHORT if tiny else SENTENCE, 0 if tiny else None)
        return
    machine = measure.machine(measure.place("cpu", 1)) | {"threads": "chosen"}
    rows = [row for count in busy.split(",") for row in beside(int(count), calls, tiny)]
    caption = "Median seconds of a call; every row in a process of its own."
    measure.report("threads", out, machine, {"calls": calls}, rows, COLUMNS, caption)


def beside(busy: int, calls: int, tiny: bool = False) -> list[Row]:
    """The rows with so many processes beside."""
    cores = str(os.cpu_count() or 1)
    rows: list[Row] = []
    with spinning(busy):
        for threads in ("1", CHOSEN) if tiny else ("1", cores, CHOSEN):  # the second waits for the others
            own = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
            said = {} if threads == CHOSEN else {"OMP_NUM_THREADS": threads}
            command = [sys.executable, __file__, "--worker", "--calls", str(calls)]
            command += ["--tiny"] * tiny
            output = subprocess.run(
                command, env=own | said, check=True, capture_output=True, text=True
            ).stdout
            taken, seconds = output.split()[-2:]
            rows.append({"busy": busy, "threads": threads, "taken": int(taken), "seconds": float(seconds)})
    return [row | {"ratio": row["seconds"] / rows[0]["seconds"]} for row in rows]


@contextmanager
def spinning(count: int) -> Iterator[None]:
    """So many processes that keep a core busy each."""
    processes = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def work(calls: int, sentence: str, layers: int | None) -> None:
    """Prints the threads that were taken and the median seconds of a call, on these layers (None: all)."""
    import torch

    from ligflow.cli.options import explainer_of

    explainer = explainer_of(None, None, None, "float32", True)
    explainer.explain(sentence, layers=layers)
    seconds = []
    for _ in range(calls):
        begin = perf_counter()
        explainer.explain(sentence, layers=layers)
        seconds.append(perf_counter() - begin)
    print(torch.get_num_threads(), median(seconds))


if __name__ == "__main__":
    measure.run(main)
