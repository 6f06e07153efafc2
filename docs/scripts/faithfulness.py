"""Tries LIG and the methods of others on the shipped corpus: tables in benchmarks/results, and the page.

Run: python docs/scripts/faithfulness.py [minilm] [gemma]    (7 and 10 minutes of one core; it can be
interrupted, and goes on). With --tables the page is made anew from the tables that are there, in seconds.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas
from blocks import put

from ligflow.corpus.analysis.faithfulness_ranking import Standing, Verdict
from ligflow.corpus.reports.faithfulness_page import SIGNS, shuffled_table, standing_table, verdict
from ligflow.corpus.reports.markdown import table
from ligflow.corpus.tables.faithfulness_rows import ALL, WORDS
from ligflow.evaluation.judged_maps import SHAPLEY_RANK
from ligflow.evaluation.removal import REPLACEMENTS
from ligflow.files import write_text

DOCS = Path(__file__).parents[1]
PAGE = DOCS / "explanation" / "faithfulness.md"
RUNS = DOCS.parent / "runs" / "faithfulness"
TABLES = DOCS.parent / "benchmarks" / "results" / "faithfulness"
MODELS = {"minilm": "embedded:minilm", "gemma": "embedded:gemma-3-270m"}
OPTIONS = {
    "minilm": ["--layers", "0,3,5", "--start", "100", "--end", "112"],
    "gemma": ["--layers", "2,11,16", "--start", "137", "--end", "142"],
}


def compute(name: str) -> None:
    """The trial, its figure, and its tables: all layers together, and the first measure by layer."""
    ligflow = Path(sys.executable).parent / "ligflow"
    command = [str(ligflow), "corpus", "faithfulness", "embedded:sentences", *OPTIONS[name]]
    subprocess.run([*command, "--model", MODELS[name], "--out", str(RUNS / name)], check=True)
    shutil.copy(RUNS / name / "faithfulness.svg", DOCS / "pictures" / f"faithfulness-{name}.svg")
    TABLES.mkdir(parents=True, exist_ok=True)
    first = (RUNS / name / "faithfulness.md").read_text(encoding="utf-8").split("\n\n")[1]
    write_text(TABLES / f"{name}.txt", first.split(" Means over")[0] + "\n")
    for kind in ("standings", "verdicts"):
        frame = pandas.read_parquet(RUNS / name / f"{kind}.parquet")
        kept = frame[frame.layer.isna() | ((frame.measure == SHAPLEY_RANK) & (frame.players == WORDS))]
        kept.to_csv(TABLES / f"{name}-{kind}.csv", index=False, float_format="%.4f")


def rows(name: str, kind: type) -> list[Any]:
    """The rows of a table as what they were written from."""
    frame = pandas.read_csv(TABLES / f"{name}-{kind.__name__.lower()}s.csv").fillna({"replacement": ""})
    layers = [None if pandas.isna(layer) else int(layer) for layer in frame.pop("layer")]
    names = [str(column) for column in frame]
    values = frame.itertuples(index=False, name=None)
    return [
        kind(layer=layer, **dict(zip(names, row, strict=True)))
        for layer, row in zip(layers, values, strict=True)
    ]


def by_layer(standings: list[Standing]) -> str:
    """Rank correlation with the Shapley values, special tokens staying, for each replacement and layer."""
    kept = [row for row in standings if row.layer is not None and row.kind in ("named", "other")]
    cells = {(row.method, row.replacement, row.layer): row for row in kept}
    columns = list(dict.fromkeys((row.replacement, row.layer) for row in kept))
    columns.sort(key=lambda column: list(REPLACEMENTS).index(column[0]))
    methods = sorted({row.method for row in kept}, key=lambda m: (not m.startswith("LIG"), m))
    body = [[method, *(marked(cells[method, *column]) for column in columns)] for method in methods]
    return table(["method", *(f"{name}, layer {layer}" for name, layer in columns)], body)


def marked(row: Standing) -> str:
    """Bold where it may be the best."""
    return f"**{row.mean:.2f}**" if row.may_be_best else f"{row.mean:.2f}"


def blocks(name: str) -> Iterator[tuple[str, str]]:
    """The tables of the page by name."""
    standings = rows(name, Standing)
    yield f"{name}-about", (TABLES / f"{name}.txt").read_text(encoding="utf-8").strip()
    yield f"{name}-verdicts", "\n".join(verdict(rows(name, Verdict)))
    yield f"{name}-layers", by_layer(standings)
    for replacement in REPLACEMENTS:
        for who in (WORDS, ALL):
            yield f"{name}-{replacement}-{who}", standing_table(standings, replacement, who)
        yield f"{name}-{replacement}-signs", standing_table(standings, replacement, WORDS, SIGNS)
    yield f"{name}-shuffled", shuffled_table(standings)


def main() -> None:
    chosen = [argument for argument in sys.argv[1:] if argument != "--tables"] or list(MODELS)
    for name in chosen:
        if "--tables" not in sys.argv:
            compute(name)
        put(PAGE, dict(blocks(name)))


if __name__ == "__main__":
    main()
