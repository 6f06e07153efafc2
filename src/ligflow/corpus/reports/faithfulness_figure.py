"""All methods of a trial in one figure: how they rank the Shapley values, and the area between the curves."""

from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ligflow.corpus.analysis.faithfulness_ranking import Standing
from ligflow.corpus.tables.faithfulness_rows import WORDS
from ligflow.evaluation.judged_maps import GREEDY, HALF, SHAPLEY_RANK

_MARKS = {SHAPLEY_RANK: ("o", "#0072B2", "Shapley, rank"), "between": ("s", "#E69F00", "between the curves")}


def drawn(standings: Sequence[Standing]) -> Figure:
    """Rank of Shapley values and area between the curves, special tokens staying: a panel a replacement."""
    pooled = [
        row
        for row in standings
        if row.layer is None and row.measure in _MARKS and row.players == WORDS and row.method != HALF
    ]
    replacements = list(dict.fromkeys(row.replacement for row in pooled))
    methods = [name for name in dict.fromkeys(row.method for row in pooled) if name != GREEDY][::-1]
    figure = Figure(figsize=(2.2 + 2.1 * len(replacements), 0.9 + 0.16 * len(methods)), layout="constrained")
    panels = figure.subplots(1, len(replacements), sharey=True, squeeze=False)[0]
    for panel, replacement in zip(panels, replacements, strict=True):
        _panel(panel, [row for row in pooled if row.replacement == replacement], methods)
        panel.set_title(f"replaced by: {replacement}", fontsize=8)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    return figure


def _panel(panel: Axes, standings: Sequence[Standing], methods: Sequence[str]) -> None:
    for shift, (measure, (mark, colour, name)) in enumerate(_MARKS.items()):
        points = list(_points([row for row in standings if row.measure == measure], methods))
        x, low, high, y = (np.array(column) for column in zip(*points, strict=True))
        panel.errorbar(
            x, y + 0.15 - 0.3 * shift, xerr=np.stack([x - low, high - x]), fmt=mark, color=colour,
            markersize=2.5, elinewidth=1, label=name,
        )  # fmt: skip
    panel.set_yticks(range(len(methods)), methods, fontsize=6)
    panel.axvline(0, color="#bbbbbb", linewidth=0.6, zorder=0)
    panel.grid(axis="y", color="#eeeeee", linewidth=0.6)
    panel.set_axisbelow(True)


def _points(
    standings: Sequence[Standing], methods: Sequence[str]
) -> Iterator[tuple[float, float, float, int]]:
    for row in standings:
        if row.method in methods and not np.isnan(row.mean):
            low, high = (row.mean if np.isnan(edge) else edge for edge in (row.low, row.high))
            yield row.mean, min(low, row.mean), max(high, row.mean), methods.index(row.method)
