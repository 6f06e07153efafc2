"""Groups of prompts compared: which components contribute more, or less, than in the other groups."""

from dataclasses import dataclass

import numpy as np

from ligflow.corpus.analysis.component_shares import ComponentDraws, of_kinds
from ligflow.evaluation.bootstrap import Sums, means
from ligflow.evaluation.simultaneous import simultaneous_interval


@dataclass(frozen=True)
class GroupDifference:
    """A component's mean share in a group, in the other groups, and the difference.

    The 95% interval of the difference holds for all components of a kind and one group at once; NaN where
    the group, or the others together, have a single prompt. `differs` says whether it leaves out 0.
    """

    group: str
    prompts: int
    kind: str
    layer: int
    head: int | None
    share: float
    elsewhere: float
    difference: float
    low: float
    high: float
    differs: bool


def group_differences(estimates: ComponentDraws) -> list[GroupDifference]:
    """Every component in every group, largest groups first; none where there are fewer than two groups."""
    sizes = estimates.size_of_group
    names = sorted(sizes, key=lambda name: (-sizes[name], name))
    return [row for name in names for row in _of_group(estimates, name)] if len(names) > 1 else []


def _of_group(estimates: ComponentDraws, name: str) -> list[GroupDifference]:
    own, size = estimates.shares_of_group[name], estimates.size_of_group[name]
    others = [sums for other, sums in estimates.shares_of_group.items() if other != name]
    rest = Sums(sum(each.sums for each in others), sum(each.counts for each in others))  # type: ignore[arg-type]
    fewest = min(size, sum(estimates.size_of_group.values()) - size)
    here, elsewhere = means(own), means(rest)
    difference = here - elsewhere
    low, high = np.full((2, len(estimates.components)), np.nan)
    if fewest > 1:
        for of_kind in of_kinds(estimates.components):
            low[of_kind], high[of_kind] = simultaneous_interval(difference[:, of_kind], fewest)
    return [
        GroupDifference(
            name, size, part.kind, part.layer, part.head, float(here[0, at]), float(elsewhere[0, at]),
            float(difference[0, at]), float(low[at]), float(high[at]), bool(low[at] > 0 or high[at] < 0),
        )
        for at, part in enumerate(estimates.components)
    ]  # fmt: skip
