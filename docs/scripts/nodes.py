"""Puts the table of heads and MLPs into its page: python docs/scripts/nodes.py

The numbers are those of `benchmarks/nodes.py`, kept in benchmarks/results/prediction-faithfulness/.
"""

import json
from pathlib import Path

from blocks import put

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "explanation" / "prediction-faithfulness.md"
RESULTS = ROOT / "benchmarks" / "results" / "prediction-faithfulness" / "nodes-smollm2.json"


def table() -> str:
    """Rank correlations with patching, a row for each kind of node and method."""
    rows = json.loads(RESULTS.read_text(encoding="utf-8"))["rows"]
    effects = [name for name in rows[0] if name not in ("nodes", "method", "prompts")]
    head = ["nodes", "method", *effects]
    lines = [head, ["---"] * len(head), *([row[name] for name in head] for row in rows)]
    shown = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return f"SmolLM2-135M, {rows[0]['prompts']} prompts.\n\n{shown}"


if __name__ == "__main__":
    put(PAGE, {"nodes": table()})
