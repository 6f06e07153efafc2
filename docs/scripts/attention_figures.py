"""Figures of the page on attention: distances by layer, and the parts of every head."""

from collections.abc import Mapping

import pandas
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

# Okabe and Ito's colours, which colour-blind readers can tell apart
_LINES = {
    "words attention sizes": ("attention, values' sizes", "#E69F00"),
    "words attention lig": ("attention, LIG", "#0072B2"),
    "words sizes lig": ("values' sizes, LIG", "#009E73"),
    "words value lig": ("LIG's value part, LIG", "#CC79A7"),
    "words control": ("attention, LIG of the next head", "#777777"),
}


def by_layer(frames: Mapping[str, pandas.DataFrame]) -> Figure:
    """How far maps of a head are apart, by layer; bands are 95% intervals over sentences."""
    figure = Figure(figsize=(7.2, 3.0), layout="constrained")
    panels = figure.subplots(1, len(frames), sharey=True)
    for panel, (name, frame) in zip(panels, frames.items(), strict=True):
        for measure, (label, colour) in _LINES.items():
            rows = frame[(frame.baseline == "itb") & (frame.measure == measure) & (frame.layer >= 0)]
            panel.plot(rows.layer, rows["mean"], color=colour, label=label, marker=".", ms=3, linewidth=1.2)
            panel.fill_between(rows.layer, rows.low, rows.high, color=colour, alpha=0.15, linewidth=0)
        panel.set_title(name, fontsize=9)
        panel.set_xlabel("layer")
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    panels[0].set_ylabel("distance (0 alike, 1 disjoint)")
    panels[0].set_ylim(0)
    figure.legend(
        *panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False, fontsize=7
    )
    return figure


def heads(frames: Mapping[str, pandas.DataFrame]) -> Figure:
    """The value's part of every head, a dot each."""
    figure = Figure(figsize=(7.2, 2.6), layout="constrained")
    panels = figure.subplots(1, len(frames), sharey=True)
    for panel, (name, frame) in zip(panels, frames.items(), strict=True):
        rows = frame[frame.baseline == "itb"]
        panel.plot(rows.layer, rows.value, ".", color="#0072B2", ms=4, alpha=0.6)
        panel.set_title(name, fontsize=9)
        panel.set_xlabel("layer")
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    panels[0].set_ylabel("part of the value (the rest: key)")
    panels[0].set_ylim(0, 1)
    return figure
