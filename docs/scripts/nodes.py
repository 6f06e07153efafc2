"""Puts the tables of heads and MLPs into their page: python docs/scripts/nodes.py

The numbers are those of `benchmarks/nodes.py`, kept in benchmarks/results/prediction-faithfulness/.
"""

import json
from pathlib import Path
from typing import Any

from blocks import put

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "explanation" / "prediction-faithfulness.md"
RESULTS = ROOT / "benchmarks" / "results" / "prediction-faithfulness"
MODELS = {"smollm2": "SmolLM2-135M", "gemma": "Gemma-3-270M"}


def rows(model: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((RESULTS / f"nodes-{model}.json").read_text("utf-8"))["rows"]
    return found


def table() -> str:
    """Rank correlations with patching, a row for each kind of node and method; a table for each model."""
    return "\n\n".join(
        f"{name}, {rows(model)[0]['prompts']} prompts.\n\n{_of(model)}" for model, name in MODELS.items()
    )


def _of(model: str) -> str:
    effects = [name for name in rows(model)[0] if name not in ("nodes", "method", "prompts")]
    head = ["nodes", "method", *effects]
    lines = [head, ["---"] * len(head), *([row[name] for name in head] for row in rows(model))]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


if __name__ == "__main__":
    put(PAGE, {"nodes": table()})
