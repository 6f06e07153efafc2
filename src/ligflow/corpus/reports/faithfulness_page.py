"""A trial of methods as files: a page in words and tables, all standings, and a figure."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ligflow.corpus.analysis.faithfulness_ranking import Standing, is_control
from ligflow.corpus.analysis.faithfulness_trial import MEASURES, SHUFFLED
from ligflow.corpus.reports.files import LOOK, write_figure, write_table
from ligflow.corpus.reports.markdown import plain, table
from ligflow.files import write_text

NAMES = {
    "rank_correlation": "rank correlation", "deletion": "deletion", "insertion": "insertion",
    "between": "between", "comprehensiveness": "comprehensiveness", "sufficiency": "sufficiency",
    "rank_with_itself": "rank, with itself", "shuffled_weights": "shuffled weights",
}  # fmt: skip
_FIGURE = ("rank_correlation", "between")
_COLOURS = ("#0072B2", "#E69F00")
_EXPLAINED = (
    "Means over targets, with half the width of their 95% intervals over sentences. Bold: the best, and what "
    "cannot be told from it by the interval of the paired difference; `leave one out`, `nearness` and "
    "`random` are controls and not ranked. Lower is better for sufficiency, higher for all others. With the "
    "weights shuffled a map should be another: near 0 is good."
)


def write(found: Sequence[Standing], place: Path, model: str, about: str) -> Path:
    """faithfulness.md, standings.csv and .parquet and a figure (SVG and PNG) in `place`; the page's path."""
    frame = pandas.DataFrame([asdict(one) for one in found])
    write_table(frame, place / "standings")
    write_figure(place / "faithfulness", LOOK, drawn, found)
    return write_text(place / "faithfulness.md", page(found, model, about))


def page(found: Sequence[Standing], model: str, about: str) -> str:
    """The standings over all layers in Markdown: a table for each replacement, and the shuffled weights."""
    pooled = [one for one in found if one.layer is None]
    replacements = dict.fromkeys(one.replacement for one in pooled if one.measure != SHUFFLED)
    parts = [f"# Faithfulness: {plain(model)}", f"{about} {_EXPLAINED}", "\n".join(verdict(found))]
    for replacement in replacements:
        parts += [f"## Sources replaced by: {replacement}", standing_table(pooled, replacement)]
    parts += ["## Weights shuffled", shuffled_table(pooled), "![All methods](faithfulness.png)"]
    return "\n\n".join(parts) + "\n"


def verdict(found: Sequence[Standing]) -> list[str]:
    """For each replacement the best method by the area between the curves, and what is as good."""
    rows = [one for one in found if one.layer is None and one.measure == "between" and one.place]
    lines = []
    for replacement in dict.fromkeys(one.replacement for one in rows):
        here = sorted((one for one in rows if one.replacement == replacement), key=lambda one: one.place)
        also = ", ".join(f"`{one.method}`" for one in here[1:] if one.as_good)
        rivals = f"; not to be told from it: {also}" if also else f"; the next is `{here[1].method}`"
        lines.append(
            f"- Sources replaced by {replacement}, area between the curves: **{here[0].method}** is best "
            f"({_plain(here[0])}){rivals}."
        )
    return lines


def standing_table(found: Sequence[Standing], replacement: str) -> str:
    """Every method under every measure, by its place between the curves; controls last."""
    here = {(one.method, one.measure): one for one in found if one.replacement == replacement}
    measures = [name for name in MEASURES if name != SHUFFLED]
    methods = sorted({method for method, _ in here}, key=lambda m: _rank(here[m, "between"]))
    body = [[method, *(_cell(here[method, measure]) for measure in measures)] for method in methods]
    return table(["method", *(NAMES[measure] for measure in measures)], body)


def shuffled_table(found: Sequence[Standing]) -> str:
    """How alike the maps of a method are with the layer's weights in random order."""
    rows = sorted((one for one in found if one.measure == SHUFFLED), key=lambda one: abs(one.mean))
    return table(
        ["method", "rank correlation with the real map"], [[one.method, _plain(one)] for one in rows]
    )


def _rank(one: Standing) -> tuple[bool, int, str]:
    return is_control(one.method), one.place, one.method


def _cell(one: Standing) -> str:
    return f"**{_plain(one)}**" if one.as_good and not is_control(one.method) else _plain(one)


def _plain(one: Standing) -> str:
    if np.isnan(one.mean):
        return "–"
    half = (one.high - one.low) / 2
    return f"{one.mean:.3f}" + ("" if np.isnan(half) else f" ± {half:.3f}")


# --- the figure -----------------------------------------------------------------------------------


def drawn(found: Sequence[Standing]) -> Figure:
    """Rank correlation and the area between the curves, a panel for each replacement."""
    pooled = [one for one in found if one.layer is None and one.measure in _FIGURE]
    replacements = list(dict.fromkeys(one.replacement for one in pooled))
    methods = list(dict.fromkeys(one.method for one in pooled))[::-1]
    figure = Figure(figsize=(2.2 + 2.1 * len(replacements), 0.9 + 0.16 * len(methods)), layout="constrained")
    panels = figure.subplots(1, len(replacements), sharey=True, squeeze=False)[0]
    for panel, replacement in zip(panels, replacements, strict=True):
        _panel(panel, [one for one in pooled if one.replacement == replacement], methods)
        panel.set_title(f"replaced by: {replacement}", fontsize=8)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    return figure


def _panel(panel: Axes, found: Sequence[Standing], methods: Sequence[str]) -> None:
    for shift, (measure, colour) in enumerate(zip(_FIGURE, _COLOURS, strict=True)):
        points = list(_points([one for one in found if one.measure == measure], methods))
        x, low, high, y = (np.array(column) for column in zip(*points, strict=True))
        panel.errorbar(
            x, y + 0.15 - 0.3 * shift, xerr=np.stack([x - low, high - x]), fmt="os"[shift], color=colour,
            markersize=2.5, elinewidth=1, label=NAMES[measure],
        )  # fmt: skip
    panel.set_yticks(range(len(methods)), methods, fontsize=6)
    panel.axvline(0, color="#bbbbbb", linewidth=0.6, zorder=0)
    panel.grid(axis="y", color="#eeeeee", linewidth=0.6)
    panel.set_axisbelow(True)


def _points(found: Sequence[Standing], methods: Sequence[str]) -> Iterator[tuple[float, float, float, int]]:
    for one in found:
        if not np.isnan(one.mean):
            low, high = (one.mean if np.isnan(edge) else edge for edge in (one.low, one.high))
            yield one.mean, min(low, one.mean), max(high, one.mean), methods.index(one.method)
