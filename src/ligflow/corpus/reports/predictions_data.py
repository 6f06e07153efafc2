"""All that a report on a run on prompts says, as data."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas

from ligflow.corpus.analysis.component_shares import (
    ComponentShare,
    LayerShare,
    component_draws,
    component_shares,
    layer_shares,
)
from ligflow.corpus.analysis.group_differences import GroupDifference, group_differences
from ligflow.corpus.analysis.prompt_examples import explained, extremes
from ligflow.corpus.runs.store import Run


@dataclass(frozen=True, eq=False)
class PredictionFindings:
    """What a report on prompts says; `sizes` are the prompts of each group."""

    run: Run
    prompts: pandas.DataFrame
    components: list[ComponentShare]
    layers: list[LayerShare]
    sizes: Mapping[str, int]
    differences: list[GroupDifference]
    ends: Mapping[str, pandas.DataFrame]
    left_out: pandas.DataFrame
    draws: int


def prediction_findings(run: Run, draws: int, seed: int) -> PredictionFindings:
    """Shares, groups and extremes of the finished shards of a run."""
    estimates = component_draws(run, draws, seed)
    prompts = explained(run)
    return PredictionFindings(
        run, prompts, component_shares(estimates), layer_shares(estimates), estimates.size_of_group,
        group_differences(estimates), extremes(prompts), _left_out(run), draws,
    )  # fmt: skip


def _left_out(run: Run) -> pandas.DataFrame:
    """The prompts that could not be explained, and why."""
    columns = ["prompt", "place", "left_out"]
    rows = [
        row for shard in run.done for row in run.table(shard, "prompts").select(columns).to_pylist()
        if row["left_out"] is not None
    ]  # fmt: skip
    return pandas.DataFrame(rows, columns=columns)
