"""Many texts: one by one, through the layers together, and beside each other in threads or processes.

    python benchmarks/many_texts.py

MiniLM's `explain` of the same texts in every row, seconds of the wall. Beside each other each thread or
process has an explainer of its own, a share of the texts, which go through its layers together, and one of
PyTorch's threads. Processes have loaded the model before.
"""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from threading import Thread
from typing import Annotated

import torch
import typer

import measure
import subjects
from ligflow import Explainer
from measure import Row, number, text

COLUMNS: measure.Columns = {
    "texts": text("how"),
    "PyTorch's threads": number("threads", "d"),
    "seconds": number("seconds", ".2f"),
    "texts a second": number("rate", ".1f"),
}
WORKERS = 2
Worker = Annotated[int | None, typer.Option("--worker", hidden=True)]
Work = Callable[[], object]


def main(
    repeats: measure.Repeats = 5,
    tiny: measure.Tiny = False,
    worker: Worker = None,
    out: measure.Out = None,
) -> None:
    """Measure ways to explain many texts on two cores."""
    if worker is not None:
        answer(worker, tiny)
        return
    every = texts(tiny)
    with ExitStack() as stack:
        rows = [
            row(how, threads, work, len(every), repeats) for how, threads, work in ways(every, tiny, stack)
        ]
    caption = f"Medians; {len(every)} texts of 6 to 18 words."
    machine = measure.machine(measure.place("cpu", None)) | {"threads": "by row"}
    measure.report("many_texts", out, machine, {"repeats": repeats, "tiny": tiny}, rows, COLUMNS, caption)


def texts(tiny: bool) -> list[str]:
    """Pieces of one sentence, of four lengths."""
    words = subjects.SENTENCE.split()
    return [
        " ".join(words[start : start + length])
        for start in range(1 if tiny else 6)
        for length in (6, 10, 14, 18)
    ]


def row(how: str, threads: int, work: Work, count: int, repeats: int) -> Row:
    """The median seconds of a way."""
    torch.set_num_threads(threads)
    (seconds,) = measure.medians([work], torch.device("cpu"), repeats)
    return {"how": how, "threads": threads, "seconds": seconds, "rate": count / seconds}


def ways(every: list[str], tiny: bool, stack: ExitStack) -> Iterator[tuple[str, int, Work]]:
    """What is measured, one after the other."""
    explainer, _ = subjects.minilm(torch.device("cpu"))
    others = [Explainer(explainer.model, explainer.tokenizer) for _ in range(WORKERS)]
    for threads in (1, WORKERS):
        yield "one by one", threads, lambda: [explainer.explain(text, layers=layers(tiny)) for text in every]
        yield "together", threads, lambda: list(explainer.explain_many(every, layers=layers(tiny)))
    yield f"together in each of {WORKERS} threads", 1, lambda: in_threads(others, every, tiny)
    workers = [stack.enter_context(started(number, tiny)) for number in range(WORKERS)]
    yield f"together in each of {WORKERS} processes", 1, lambda: in_processes(workers)


def layers(tiny: bool) -> list[int] | None:
    """One, or all."""
    return [0] if tiny else None


def in_threads(explainers: list[Explainer], every: list[str], tiny: bool) -> None:
    """Each explainer with its share in a thread."""

    def share(number: int) -> None:
        torch.set_num_threads(1)
        list(explainers[number].explain_many(every[number::WORKERS], layers=layers(tiny)))

    threads = [Thread(target=share, args=(number,)) for number in range(WORKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@contextmanager
def started(number: int, tiny: bool) -> Iterator["subprocess.Popen[str]"]:
    """A process that has its model, and explains its share whenever a line comes in."""
    command = [sys.executable, __file__, "--worker", str(number), *["--tiny"] * tiny]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def in_processes(workers: "list[subprocess.Popen[str]]") -> None:
    """Every process with its share, at once."""
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("\n")
        worker.stdin.flush()
    for worker in workers:
        assert worker.stdout is not None
        if not worker.stdout.readline():
            raise SystemExit("A process ended before its texts were explained.")


def answer(number: int, tiny: bool) -> None:
    """Explains a share of the texts for each line that comes in."""
    torch.set_num_threads(1)
    explainer, _ = subjects.minilm(torch.device("cpu"))
    share = texts(tiny)[number::WORKERS]
    while sys.stdin.readline():
        list(explainer.explain_many(share, layers=layers(tiny)))
        print("done", flush=True)


if __name__ == "__main__":
    measure.run(main)
