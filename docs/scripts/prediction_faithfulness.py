"""The whole-model benchmark: its runs, its tables in benchmarks/results, and the page.

    python docs/scripts/prediction_faithfulness.py [smollm2] [gemma] [minilm] [--questions 200]

runs what is missing (half a minute of a core a question of SmolLM2, and the rivals' environments once; it
can be interrupted, and goes on) and makes tables and page. It goes on with what the repository keeps of
earlier runs (`benchmarks/kept_results.py`), and adds to it. With --measured it makes tables of what has been
run (a minute), with --tables the page of the tables (seconds).
"""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import pandas
import typer
from blocks import put
from prediction_faithfulness_tables import RESULTS, blocks

ROOT = Path(__file__).parents[2]
BENCHMARKS = ROOT / "benchmarks"
RUNS = ROOT / "runs" / "prediction-faithfulness"
PAGE = ROOT / "docs" / "explanation" / "prediction-faithfulness.md"
PICTURES = ROOT / "docs" / "pictures"
MODELS = ("smollm2", "minilm", "gemma")
MAIN = "chain,leave-one-out"
VARIANTS = "chain-layer,chain-held,chain-random,chain-3-points,chain-7-points,chain-model,chain-mean"
QUESTIONS, FEWER = 200, 20  # of the main table, of the variants


def main(
    models: Annotated[list[str] | None, typer.Argument(help="smollm2, minilm, gemma; default: all.")] = None,
    questions: Annotated[int, typer.Option(help="The first test questions, kinds in turn.")] = QUESTIONS,
    measured: Annotated[bool, typer.Option("--measured", help="Tables of what has been run.")] = False,
    tables: Annotated[bool, typer.Option("--tables", help="The page of the tables.")] = False,
) -> None:
    """Run what is missing, and make tables and page."""
    if unknown := set(models or ()) - set(MODELS):
        raise SystemExit(f"No models: {', '.join(sorted(unknown))}; there are {', '.join(MODELS)}.")
    sys.path.insert(0, str(BENCHMARKS))
    for model in models or MODELS:
        if not (measured or tables):
            compute(model, questions)
        if not tables:
            measure(model)
        put(PAGE, blocks(model))


def compute(model: str, questions: int = QUESTIONS, runs: Path = RUNS, results: Path = RESULTS) -> None:
    """What is missing of a model's run."""
    if not (runs / "weights" / model).exists() or not (runs / model / "questions.jsonl").exists():
        work("questions.py", model, "--out", runs)
    go_on(model, runs, results)
    fewer = min(questions, FEWER)
    for methods, count in {MAIN: questions, VARIANTS: fewer}.items():
        work("chain_relevances.py", model, methods, "--questions", count, "--runs", runs)
    if model != "minilm":
        work("chain_relevances.py", model, "chain-first", "--questions", fewer, "--runs", runs)
    tuning = ("--questions", min(questions, 4), "--tuning", "--runs", runs)
    work("chain_relevances.py", model, "chain,chain-3-points,chain-7-points,chain-fine", *tuning)
    work("rivals.py", runs / model, "--count", questions)
    work("removal_judge.py", model, "--questions", questions, "--runs", runs)


def work(script: str, *arguments: object) -> None:
    subprocess.run([sys.executable, BENCHMARKS / script, *map(str, arguments)], check=True)


def go_on(model: str, runs: Path, results: Path) -> None:
    """What is kept of earlier runs goes into this one."""
    from kept_results import lay

    if other := lay(model, runs, results):
        first = ", ".join(other[:3])
        print(f"{model}: {len(other)} questions or methods are others than those that were kept: {first} ...")


def measure(model: str, runs: Path = RUNS, results: Path = RESULTS, pictures: Path = PICTURES) -> None:
    """What is kept of a model's run, and its tables, which are made of nothing else."""
    from kept_results import keep, keep_scores, lay, scores_of
    from prediction_scores import costs, errors, on_a_path, scores
    from prediction_standings import standings

    go_on(model, runs, results)
    if not keep(model, runs, results):
        print(f"{model}: nothing has been run")
        return
    with TemporaryDirectory() as folder:
        lay(model, Path(folder), results)
        rows = scores(model, Path(folder))
        tables = {"costs": costs(model, Path(folder)), "errors": errors(model, Path(folder))}
    if not len(rows):
        print(f"{model}: nothing has been judged")
        return
    keep_scores(model, rows, results)
    rows = scores_of(model, results)
    tables |= {"standings": standings(rows, "main"), "variants": standings(rows, "variants")}
    if model == "smollm2":
        tables["path"] = on_a_path()
    for name, table in tables.items():
        if len(table):
            write(results / f"{model}-{name}.csv", table)
    if len(tables["standings"]):
        figure(pictures / f"prediction-faithfulness-{model}.svg", model, tables["costs"], tables["standings"])


def figure(path: Path, model: str, costs: pandas.DataFrame, rows: pandas.DataFrame) -> None:
    """Quality over cost: the area between the curves, random tokens as replacement, over CPU seconds."""
    import matplotlib.pyplot as plt
    from matplotlib.ticker import LogLocator, NullFormatter

    areas = rows[rows.measure == "random: between"].set_index("method")["mean"]
    shown = costs[costs.method.isin(areas.index) & (costs.method != "random")]
    shown = shown.assign(area=shown.method.map(areas)).sort_values("area", ascending=False)
    plt.rcParams["svg.hashsalt"] = model
    canvas, axes = plt.subplots(figsize=(8, 5))
    for number, row in enumerate(shown.itertuples(), start=1):
        colour = "#b2182b" if row.method == "chain" else "#444444"
        axes.scatter(row.seconds, row.area, color=colour, label=f"{number}  {row.method}")
        axes.annotate(str(number), (row.seconds, row.area), (4, 2), textcoords="offset points", size=8)
    axes.axhline(areas["random"], color="#999999", linestyle=":", label="random relevance")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize=8, handlelength=1)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("CPU seconds a question, one thread (median)")
    axes.set_ylabel("area between the curves, random tokens as replacement")
    canvas.savefig(path, bbox_inches="tight", metadata={"Date": None})
    plt.close(canvas)


def write(path: Path, table: pandas.DataFrame) -> None:
    part = path.with_suffix(".part")
    table.to_csv(part, index=False, float_format="%.5g")
    part.replace(path)


if __name__ == "__main__":
    typer.run(main)
