"""A trial of methods as files: a page in words and tables, all standings, and a figure."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ligflow.corpus.analysis.faithfulness_ranking import Standing, is_control
from ligflow.corpus.reports.files import LOOK, write_figure, write_table
from ligflow.corpus.reports.markdown import plain, table
from ligflow.corpus.tables.faithfulness_rows import MEASURES, SHUFFLED
from ligflow.files import write_text

NAMES = {
    "rank_correlation": "rank correlation", "deletion": "deletion", "insertion": "insertion",
    "between": "between", "comprehensiveness": "comprehensiveness", "sufficiency": "sufficiency",
    "rank_with_itself": "rank, with itself", "shuffled_weights": "shuffled weights",
}  # fmt: skip
_FIGURE = ("rank_correlation", "between")
_COLOURS = ("#0072B2", "#E69F00")
_EXPLAINED = (
    "Means over targets, with half the width of their 95% intervals over sentences. Bold: what may "
    "be the best, a set that holds the truly best with 95%; `leave one out`, `nearness` and "
    "`random` are controls and not ranked. Lower is better for sufficiency, higher for all others. With the "
    "weights shuffled a map should be another: near 0 is good."
)


def write(standings: Sequence[Standing], place: Path, model: str, about: str) -> Path:
    """faithfulness.md, standings.csv and .parquet and a figure (SVG and PNG) in `place`; the page's path."""
    frame = pandas.DataFrame([asdict(row) for row in standings])
    write_table(frame, place / "standings")
    write_figure(place / "faithfulness", LOOK, drawn, standings)
    return write_text(place / "faithfulness.md", page(standings, model, about))


def page(standings: Sequence[Standing], model: str, about: str) -> str:
    """The standings over all layers in Markdown: a table for each replacement, and the shuffled weights."""
    pooled = [row for row in standings if row.layer is None]
    replacements = dict.fromkeys(row.replacement for row in pooled if row.measure != SHUFFLED)
    parts = [f"# Faithfulness: {plain(model)}", f"{about} {_EXPLAINED}", "\n".join(verdict(standings))]
    for replacement in replacements:
        parts += [f"## Sources replaced by: {replacement}", standing_table(pooled, replacement)]
    parts += ["## Weights shuffled", shuffled_table(pooled), "![All methods](faithfulness.png)"]
    return "\n\n".join(parts) + "\n"


def verdict(standings: Sequence[Standing]) -> list[str]:
    """For each replacement the best method by the area between the curves, and what is as good."""
    rows = [row for row in standings if row.layer is None and row.measure == "between" and row.place]
    lines = []
    for replacement in dict.fromkeys(row.replacement for row in rows):
        here = sorted((row for row in rows if row.replacement == replacement), key=lambda row: row.place)
        also = ", ".join(f"`{row.method}`" for row in here[1:] if row.as_good)
        rivals = f"; may be the best as well: {also}" if also else f"; the next is `{here[1].method}`"
        lines.append(
            f"- Sources replaced by {replacement}, area between the curves: **{here[0].method}** is best "
            f"({_plain(here[0])}){rivals}."
        )
    return lines


def standing_table(standings: Sequence[Standing], replacement: str) -> str:
    """Every method under every measure, by its place between the curves; controls last."""
    here = {(row.method, row.measure): row for row in standings if row.replacement == replacement}
    measures = [name for name in MEASURES if name != SHUFFLED]
    methods = sorted({method for method, _ in here}, key=lambda m: _rank(here[m, "between"]))
    body = [[method, *(_cell(here[method, measure]) for measure in measures)] for method in methods]
    return table(["method", *(NAMES[measure] for measure in measures)], body)


def shuffled_table(standings: Sequence[Standing]) -> str:
    """How alike the maps of a method are with the layer's weights in random order."""
    rows = sorted((row for row in standings if row.measure == SHUFFLED), key=lambda row: abs(row.mean))
    return table(
        ["method", "rank correlation with the real map"], [[row.method, _plain(row)] for row in rows]
    )


def _rank(row: Standing) -> tuple[bool, int, str]:
    return is_control(row.method), row.place, row.method


def _cell(row: Standing) -> str:
    return f"**{_plain(row)}**" if row.as_good and not is_control(row.method) else _plain(row)


def _plain(row: Standing) -> str:
    if np.isnan(row.mean):
        return "–"
    half = (row.high - row.low) / 2
    return f"{row.mean:.3f}" + ("" if np.isnan(half) else f" ± {half:.3f}")


# --- the figure -----------------------------------------------------------------------------------


def drawn(standings: Sequence[Standing]) -> Figure:
    """Rank correlation and the area between the curves, a panel for each replacement."""
    pooled = [row for row in standings if row.layer is None and row.measure in _FIGURE]
    replacements = list(dict.fromkeys(row.replacement for row in pooled))
    methods = list(dict.fromkeys(row.method for row in pooled))[::-1]
    figure = Figure(figsize=(2.2 + 2.1 * len(replacements), 0.9 + 0.16 * len(methods)), layout="constrained")
    panels = figure.subplots(1, len(replacements), sharey=True, squeeze=False)[0]
    for panel, replacement in zip(panels, replacements, strict=True):
        _panel(panel, [row for row in pooled if row.replacement == replacement], methods)
        panel.set_title(f"replaced by: {replacement}", fontsize=8)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    return figure


def _panel(panel: Axes, standings: Sequence[Standing], methods: Sequence[str]) -> None:
    for shift, (measure, colour) in enumerate(zip(_FIGURE, _COLOURS, strict=True)):
        points = list(_points([row for row in standings if row.measure == measure], methods))
        x, low, high, y = (np.array(column) for column in zip(*points, strict=True))
        panel.errorbar(
            x, y + 0.15 - 0.3 * shift, xerr=np.stack([x - low, high - x]), fmt="os"[shift], color=colour,
            markersize=2.5, elinewidth=1, label=NAMES[measure],
        )  # fmt: skip
    panel.set_yticks(range(len(methods)), methods, fontsize=6)
    panel.axvline(0, color="#bbbbbb", linewidth=0.6, zorder=0)
    panel.grid(axis="y", color="#eeeeee", linewidth=0.6)
    panel.set_axisbelow(True)


def _points(
    standings: Sequence[Standing], methods: Sequence[str]
) -> Iterator[tuple[float, float, float, int]]:
    for row in standings:
        if not np.isnan(row.mean):
            low, high = (row.mean if np.isnan(edge) else edge for edge in (row.low, row.high))
            yield row.mean, min(low, row.mean), max(high, row.mean), methods.index(row.method)
