"""The whole-model benchmark: its runs, its tables in benchmarks/results, and the page.

    python docs/scripts/prediction_faithfulness.py [smollm2] [gemma] [minilm]

runs what is missing (2 hours of a core for 60 questions of each model; it can be interrupted, and goes on)
and makes tables and page; relevances of rivals are those that their workers have written into the same
folder. With --measured it makes tables of what has been run (a minute), with --tables the page of the tables
(seconds).
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas
from blocks import put
from prediction_faithfulness_tables import RESULTS, blocks

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "explanation" / "prediction-faithfulness.md"
MODELS = ("smollm2", "minilm", "gemma")
MAIN = "chain,leave-one-out"
VARIANTS = "chain-layer,chain-held,chain-random,chain-3-points,chain-7-points,chain-model,chain-mean"
QUESTIONS, FEWER = 60, 20  # of the main table, of the variants


def compute(model: str) -> None:
    """What is missing of a model's run."""
    work("chain_relevances.py", model, MAIN, "--questions", str(QUESTIONS))
    work("chain_relevances.py", model, VARIANTS, "--questions", str(FEWER))
    if model != "minilm":
        work("chain_relevances.py", model, "chain-first", "--questions", str(FEWER))
    work("chain_relevances.py", model, "chain,chain-3-points,chain-7-points,chain-fine", "--questions", "4",
         "--tuning")  # fmt: skip
    work("removal_judge.py", model, "--questions", str(QUESTIONS))


def work(script: str, *arguments: str) -> None:
    subprocess.run([sys.executable, ROOT / "benchmarks" / script, *arguments], check=True)


def measure(model: str) -> None:
    """The tables of a model's run, as they are kept."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    from prediction_scores import costs, errors, methods, on_a_path, scores
    from prediction_standings import standings

    RESULTS.mkdir(parents=True, exist_ok=True)
    rows = scores(model)
    tables = {
        "standings": standings(rows, "main"),
        "variants": standings(rows, "variants"),
        "methods": methods(model),
        "costs": costs(model),
        "errors": errors(model),
    }
    if model == "smollm2":
        tables["path"] = on_a_path()
    for name, table in tables.items():
        if len(table):
            write(model, name, table)
    figure(model, tables["costs"], tables["standings"])


def figure(model: str, costs: pandas.DataFrame, rows: pandas.DataFrame) -> None:
    """Quality over cost: the area between the curves, random tokens as replacement, over CPU seconds."""
    import matplotlib.pyplot as plt

    areas = rows[rows.measure == "random: between"].set_index("method")["mean"]
    shown = costs[costs.method.isin(areas.index) & (costs.seconds > 0)]
    plt.rcParams["svg.hashsalt"] = model
    canvas, axes = plt.subplots(figsize=(8, 5))
    for row in shown.itertuples():
        axes.scatter(row.seconds, areas[row.method], color="#b2182b" if row.method == "chain" else "#444444")
        axes.annotate(
            row.method, (row.seconds, areas[row.method]), (4, 2), textcoords="offset points", size=8
        )
    axes.set_xscale("log")
    axes.set_xlabel("CPU seconds a question, one thread (median)")
    axes.set_ylabel("area between the curves, random tokens as replacement")
    canvas.savefig(
        ROOT / "docs" / "pictures" / f"prediction-faithfulness-{model}.svg",
        bbox_inches="tight", metadata={"Date": None},
    )  # fmt: skip
    plt.close(canvas)


def write(model: str, name: str, table: pandas.DataFrame) -> None:
    part = RESULTS / f"{model}-{name}.part"
    table.to_csv(part, index=False, float_format="%.5g")
    part.replace(RESULTS / f"{model}-{name}.csv")


def main(arguments: Sequence[str]) -> None:
    for model in [each for each in arguments if not each.startswith("--")] or MODELS:
        if "--tables" not in arguments:
            if "--measured" not in arguments:
                compute(model)
            measure(model)
        put(PAGE, blocks(model))


if __name__ == "__main__":
    main(sys.argv[1:])
