"""Rows that favour one pair of baselines, and results as a table."""

from typing import Any

import pandas

from ligflow.corpus.runs.store import Run
from runs_by_hand import Row

GOOD = {"l2": 0.1, "relative_l2": 0.1, "normalised_l2": 0.1, "pearson": 0.9, "spearman": 0.9, "top_k": 0.9}


def favouring(att: str, mlp: str, rule: str) -> Any:
    """Makes one composed map the best under all metrics."""

    def change(row: Row) -> None:
        if (row["map"], row["att"], row["mlp"], row["rule"]) == ("composed", att, mlp, rule):
            row |= GOOD

    return change


def frame_of(found: Run) -> pandas.DataFrame:
    return pandas.concat([found.table(shard, "metrics").to_pandas() for shard in found.done])
