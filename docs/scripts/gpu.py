"""The table of a GPU on the page of devices, of what `benchmarks/gpu.py` has written.

python docs/scripts/gpu.py
"""

import json
from pathlib import Path
from typing import Any

from blocks import put

from ligflow.corpus.reports.markdown import table

DOCS = Path(__file__).parents[1]
PAGE = DOCS / "how-to" / "devices.md"
RESULTS = DOCS.parent / "benchmarks" / "results" / "gpu.json"
FORMS = {
    "sentences": "d", "tokens": ".1f", "seconds": ".3g", "peak": ".0f", "nodes": ".1f", "fraction": ".2f",
    "times": ".1f", "error": ".1e",
}  # fmt: skip
NAMES = [
    "what", "sentences", "tokens", "seconds", "peak MiB", "mean points", "of the floor", "over a pass",
    "from the CPU", "said",
]  # fmt: skip


def block(path: Path = RESULTS) -> str:
    """The machine and a row for each measurement; that it was not run where there is no file."""
    if not path.exists():
        return "Not run: no GPU was at hand."
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    where = record["machine"]
    rows = [
        [row["what"], *(_cell(row, name, form) for name, form in FORMS.items()), row.get("said", "")]
        for row in record["rows"]
    ]
    return f"{where['device']}, torch {where['torch']}, {where['date']}.\n\n{table(NAMES, rows)}"


def _cell(row: dict[str, Any], name: str, form: str) -> str:
    return format(row[name], form) if row.get(name) is not None else ""


if __name__ == "__main__":
    put(PAGE, {"gpu": block()})
