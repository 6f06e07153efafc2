"""Tries LIG and the methods of others on the shipped corpus: tables in benchmarks/results, and the page.

Run: python docs/scripts/faithfulness.py [minilm] [gemma]    (8 and 12 minutes of one core; it can be
interrupted, and goes on). With --tables the page is made anew from the tables that are there, in seconds.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas
from blocks import put

from ligflow.corpus.analysis.faithfulness_ranking import Standing, Verdict
from ligflow.corpus.reports.faithfulness_page import MAIN, NAMES, standing_table
from ligflow.corpus.reports.markdown import table
from ligflow.corpus.tables.faithfulness_rows import ALL, WORDS
from ligflow.evaluation.judged_maps import HALF, SHAPLEY_RANK
from ligflow.evaluation.other_methods import NAMED
from ligflow.evaluation.removal import REPLACEMENTS
from ligflow.files import write_text

DOCS = Path(__file__).parents[1]
PAGE = DOCS / "explanation" / "faithfulness.md"
RUNS = DOCS.parent / "runs" / "faithfulness"
TABLES = DOCS.parent / "benchmarks" / "results" / "faithfulness"
RATED = ("named", "other")
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


def across(standings: list[Standing], kinds: Sequence[str], columns: Sequence[tuple[str, ...]]) -> str:
    """Means under measures of several replacements: `columns` are (replacement, players, measure)."""
    cells = {
        (row.method, row.replacement, row.players, row.measure): row
        for row in standings
        if row.layer is None and row.kind in kinds and row.method != HALF and not np.isnan(row.mean)
    }
    methods = sorted({method for method, *_ in cells if (method, *columns[0]) in cells}, key=_named_first)
    body = [[method, *(_marked(cells.get((method, *column))) for column in columns)] for method in methods]
    return table(["method", *(f"{name}: {NAMES[measure]}" for name, _, measure in columns)], body)


def by_layer(standings: list[Standing]) -> str:
    """Rank correlation with the Shapley values, special tokens staying, for each replacement and layer."""
    kept = [row for row in standings if row.layer is not None and row.kind in RATED]
    cells = {(row.method, row.replacement, row.layer): row for row in kept}
    columns = sorted(
        {(row.replacement, row.layer) for row in kept},
        key=lambda column: (list(REPLACEMENTS).index(column[0]), column[1]),
    )
    methods = sorted({row.method for row in kept}, key=_named_first)
    body = [[method, *(_marked(cells.get((method, *column))) for column in columns)] for method in methods]
    return table(["method", *(f"{name}, layer {layer}" for name, layer in columns)], body)


def _named_first(method: str) -> tuple[bool, str]:
    return method != NAMED, method.lower()


def _marked(row: Standing | None) -> str:
    """Bold where it may be the best."""
    if row is None:
        return "–"
    return f"**{row.mean:.2f}**" if row.may_be_best else f"{row.mean:.2f}"


def blocks(name: str) -> Iterator[tuple[str, str]]:
    """The tables of the page by name."""
    standings = rows(name, Standing)
    plain = [row for row in standings if row.kind != "variant"]
    yield f"{name}-about", (TABLES / f"{name}.txt").read_text(encoding="utf-8").strip()
    yield f"{name}-verdicts", outcomes(rows(name, Verdict))
    for replacement in REPLACEMENTS:
        yield f"{name}-{replacement}", standing_table(plain, replacement, WORDS)
    special = product(REPLACEMENTS, [ALL], [SHAPLEY_RANK, "between"])
    yield f"{name}-special", across(standings, (*RATED, "control"), list(special))
    signs = product(REPLACEMENTS, [WORDS], ["signs", "negatives"])
    yield f"{name}-signs", across(standings, (*RATED, "control"), list(signs))
    variants = product(REPLACEMENTS, [WORDS], [SHAPLEY_RANK, "amounts_shapley"])
    yield f"{name}-variants", across(standings, ("named", "variant"), list(variants))
    yield f"{name}-layers", by_layer(standings)


def outcomes(verdicts: list[Verdict]) -> str:
    """Whether the named variant is the best, for each replacement and measure, special tokens staying."""
    here = {
        (row.replacement, row.measure): row for row in verdicts if row.layer is None and row.players == WORDS
    }
    body = [
        [name, *(f"{here[name, m].outcome}" + _other(here[name, m]) for m in MAIN)] for name in REPLACEMENTS
    ]
    return table(["replaced by", *(NAMES[measure] for measure in MAIN)], body)


def _other(row: Verdict) -> str:
    return "" if row.best == NAMED else f" ({row.best})"


def main() -> None:
    chosen = [argument for argument in sys.argv[1:] if argument != "--tables"] or list(MODELS)
    for name in chosen:
        if "--tables" not in sys.argv:
            compute(name)
        put(PAGE, dict(blocks(name)))


if __name__ == "__main__":
    main()
