"""Which passage an answer rests on: the runs, their tables in benchmarks/results, the section of the page.

    python docs/scripts/passages.py [--count 100]

runs what is missing (25 CPU seconds a question, and the rivals' environments once; it can be interrupted,
and goes on) and makes tables and section. It goes on with what the repository keeps of earlier runs, and
adds to it. With --measured it makes tables of what has been run (seconds), with --tables the section of the
tables.
"""

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import pandas
import typer
from blocks import put
from prediction_faithfulness import BENCHMARKS, PAGE, RUNS, write
from prediction_faithfulness_tables import methods, random, standing

from ligflow.corpus.reports.markdown import table

NAME = "passages"
RESULTS = BENCHMARKS / "results" / NAME
MEASURES = ("fall 1", "fall 3", "datamodel", "recall at 1", "recall at k")
KINDS = ("one holder", "two holders")
RUNS_OF = {
    "chain": "2, and 7 or more of each part, with gradients",
    "attnlrp": "1 with gradient", "attnlrp-logprob": "1 with gradient",
    "mean-attention": "1", "last-attention": "1", "random": "0",
    "contextcite": "64", "contextcite-32": "32", "leave-one-out": "6",
}  # fmt: skip


def main(
    count: Annotated[int, typer.Option(help="The first test questions.")] = 100,
    measured: Annotated[bool, typer.Option("--measured", help="Tables of what has been run.")] = False,
    tables: Annotated[bool, typer.Option("--tables", help="The section of the tables.")] = False,
) -> None:
    """Run what is missing, and make tables and section."""
    sys.path.insert(0, str(BENCHMARKS))
    if not (measured or tables):
        go_on()
        subprocess.run([sys.executable, BENCHMARKS / "passages.py", "--count", str(count)], check=True)
    if not tables:
        measure()
    put(PAGE, blocks())


def go_on(runs: Path = RUNS, results: Path = RESULTS) -> None:
    """What is kept of earlier runs goes into this one."""
    from kept_results import lay

    if other := lay(NAME, runs, results):
        print(f"{len(other)} questions or methods are others than those that were kept: {other[0]} ...")


def measure(runs: Path = RUNS, results: Path = RESULTS) -> None:
    """What is kept of a run, and its tables."""
    from kept_results import keep, keep_scores, scores_of
    from passage_scores import answers, chance, costs, scores
    from prediction_standings import standings

    go_on(runs, results)
    if not keep(NAME, runs, results):
        raise SystemExit("Nothing has been run.")
    keep_scores(NAME, scores(runs), results)
    made = {
        "standings": standings(scores_of(NAME, results), "main"),
        "costs": costs(runs),
        "answers": answers(runs),
        "chance": chance(runs),
    }
    for name, rows in made.items():
        write(results / f"{NAME}-{name}.csv", rows)


def read(name: str) -> pandas.DataFrame:
    return pandas.read_csv(RESULTS / f"{NAME}-{name}.csv").fillna({"beside": "", "version": ""})


def blocks() -> dict[str, str]:
    """The blocks of the section by name."""
    rows = read("standings")
    by_kind = tuple(
        f"{kind}: {measure}" for kind in KINDS for measure in ("fall 1", "datamodel", "recall at k")
    )
    return {
        "passages-main": standing(rows, MEASURES),
        "passages-kinds": standing(rows, by_kind),
        "passages-random": random(rows, MEASURES),
        "passages-chance": chances(),
        "passages-answers": answers(),
        "passages-costs": costs(),
        "passages-methods": methods(read("methods")),
    }


def answers() -> str:
    """How many answers are the model's own sentences; how likely they are with passages and without."""
    body = [
        [row.kind, str(row.questions), str(row.own), f"{row.whole:.2f}", f"{row.without:.2f}"]
        for row in read("answers").itertuples()
    ]
    return table(["questions", "how many", "own sentences", "log-probability", "without passages"], body)


def chances() -> str:
    """What random numbers score on average."""
    body = [[row.measure, f"{row.mean:.3f}", f"{row.error:.3f}"] for row in read("chance").itertuples()]
    return table(["measure", "mean of 100 draws a question", "its standard error"], body)


def costs() -> str:
    """Runs of the model and CPU seconds of each method."""
    body = [
        [f"`{row.method}`", RUNS_OF[row.method], f"{row.seconds:.1f}", str(row.questions)]
        for row in read("costs").sort_values("seconds").itertuples()
    ]
    return table(["method", "runs of the model", "CPU seconds", "questions"], body)


if __name__ == "__main__":
    typer.run(main)
