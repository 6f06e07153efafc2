"""Tries LIG and its rivals on the shipped corpus, and writes the results into faithfulness.md.

Run: python docs/scripts/faithfulness.py [minilm] [gemma]   (an hour each on one core; it can be interrupted)
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas
from blocks import put

from ligflow.corpus.analysis.faithfulness_ranking import standings
from ligflow.corpus.reports.faithfulness_page import shuffled_table, standing_table
from ligflow.corpus.runs.faithfulness_trial import described
from ligflow.corpus.tables.faithfulness_rows import Trial

DOCS = Path(__file__).parents[1]
RUNS = DOCS.parent / "runs" / "faithfulness"
MODELS = {"minilm": "embedded:minilm", "gemma": "embedded:gemma-3-270m"}
OPTIONS = {
    "minilm": ["--layers", "0,1,2,3,4,5", "--shuffled", "20"],
    "gemma": ["--layers", "11", "--shuffled", "10"],
}
REPLACEMENTS = ("zero", "target", "mean")


def compute(name: str) -> None:
    """The trial, with its page and figure."""
    ligflow = Path(sys.executable).parent / "ligflow"
    command = [ligflow, "corpus", "faithfulness", "embedded:sentences", "--end", "100"]
    out = ["--model", MODELS[name], "--out", str(RUNS / name)]
    subprocess.run([*command, *out, *OPTIONS[name]], check=True)
    shutil.copy(RUNS / name / "faithfulness.svg", DOCS / "pictures" / f"faithfulness-{name}.svg")


def blocks(name: str) -> Iterator[tuple[str, str]]:
    files = sorted((RUNS / name / "sentences").glob("*.parquet"))
    frame = pandas.concat([pandas.read_parquet(file) for file in files], ignore_index=True)
    found = [one for one in standings(frame) if one.layer is None]
    yield f"{name}-size", described(frame, Trial())
    for replacement in REPLACEMENTS:
        yield f"{name}-{replacement}", standing_table(found, replacement)
    yield f"{name}-shuffled", shuffled_table(found)


def main() -> None:
    for name in sys.argv[1:] or MODELS:
        compute(name)
        put(DOCS / "explanation" / "faithfulness.md", dict(blocks(name)))


if __name__ == "__main__":
    main()
