"""Figures of a report: every metric by layer with bands, and all pairs as a heat map. SVG and PNG."""

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from ligflow.corpus.analysis.estimates import ATTENTION, COMPOSED, PAIRS, SHUFFLED, Estimates
from ligflow.corpus.analysis.rankings import lower_is_better
from ligflow.corpus.analysis.rankings_in_words import NAMES, number
from ligflow.corpus.reports.files import LOOK, write_figure
from ligflow.corpus.tables.schema import ATT, DIRECT, MLP, RULES
from ligflow.evaluation.bootstrap import interval
from ligflow.evaluation.consistency import METRICS

# Okabe and Ito's colours, which colour-blind readers can tell apart
_COLOURS = dict(zip(ATT, ("#E69F00", "#56B4E9", "#0072B2", "#CC79A7", "#009E73"), strict=True))
_STYLES = dict(zip(MLP, ("--", "-", "-."), strict=True))
_GREY = "#777777"
_DARK = 0.7  # shades that black text would drown in


def draw(estimates: Estimates, twin: Estimates | None, folder: Path) -> list[Path]:
    """All figures of the first unit, with the target among the sources; their files."""
    written = write_figure(folder / "pairs", LOOK, heat_map, estimates)
    for direct in DIRECT:
        for rule in RULES:
            path = folder / f"layers-{direct}-{rule}"
            written += write_figure(path, LOOK, by_layer, estimates, twin, direct, rule)
    return written


def better(metric: str) -> str:
    """Which end of a metric is the good one."""
    return "lower is better" if lower_is_better(metric) else "higher is better"


# --- by layer -------------------------------------------------------------------------------------


def by_layer(estimates: Estimates, twin: Estimates | None, direct: str, rule: str) -> Figure:
    """One panel a metric, one line a pair; bands are 95% intervals over sentences, controls are grey."""
    figure = Figure(figsize=(7.2, 5.8), layout="constrained")
    axes = figure.subplots(2, 3, sharex=True)
    for panel, metric in zip(axes.flat, METRICS, strict=True):
        _panel(panel, estimates, twin, direct, rule, metric)
    for panel in axes[1]:
        panel.set_xlabel("layer")
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=7)
    figure.suptitle(f"Agreement with the direct map ({direct}), {rule} composition", fontsize=9)
    return figure


def _panel(
    panel: Axes, estimates: Estimates, twin: Estimates | None, direct: str, rule: str, metric: str
) -> None:
    at = (slice(None), 0, 0, slice(0, len(estimates.layers)), DIRECT.index(direct))
    draws = estimates.draws[at][..., METRICS.index(metric)]
    chosen = [n for n, pair in enumerate(PAIRS) if pair[2] == rule]
    for pair in chosen:
        att, mlp, _ = PAIRS[pair]
        low, high = interval(draws[1:, :, pair])
        line: dict[str, Any] = {"color": _COLOURS[att], "linestyle": _STYLES[mlp], "linewidth": 1.2}
        panel.plot(
            estimates.layers, draws[0, :, pair], label=f"ATT {att}, MLP {mlp}", marker=".", ms=3, **line
        )
        panel.fill_between(estimates.layers, low, high, color=_COLOURS[att], alpha=0.15, linewidth=0)
    grey: dict[str, Any] = {"color": _GREY, "linewidth": 1.0}
    panel.plot(estimates.layers, draws[0, :, ATTENTION], label="raw attention", linestyle=":", **grey)
    shuffled = draws[0, :, SHUFFLED][:, chosen]
    panel.plot(
        estimates.layers, _best(shuffled, metric), label="shuffled (best pair)", linestyle="-.", **grey
    )
    if twin is not None:
        random = twin.mean[0, 0, : len(twin.layers), DIRECT.index(direct), COMPOSED, METRICS.index(metric)]
        panel.plot(
            twin.layers, _best(random[:, chosen], metric), label="random weights (best pair)",
            linestyle=(0, (1, 3)), **grey,
        )  # fmt: skip
    panel.set_title(f"{NAMES[metric]}\n({better(metric)})", fontsize=8)
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    _limit(panel, draws[0][:, chosen], metric)


def _best(values: np.ndarray, metric: str) -> np.ndarray:
    """The best of the pairs at each layer."""
    return values.min(axis=1) if lower_is_better(metric) else values.max(axis=1)


def _limit(panel: Axes, values: np.ndarray, metric: str) -> None:
    """Distances of very different magnitude are read on a logarithmic axis."""
    known = values[np.isfinite(values)]
    if metric in ("l2", "relative_l2") and len(known) and known.min() > 0 and known.max() > 10 * known.min():
        panel.set_yscale("log")
        panel.yaxis.set_minor_formatter(NullFormatter())
        panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


# --- pairs ----------------------------------------------------------------------------------------


def heat_map(estimates: Estimates) -> Figure:
    """Rows: ATT, MLP and rule; columns: the direct baseline. One panel a metric, the best are framed."""
    figure = Figure(figsize=(7.2, 7.6), layout="constrained")
    axes = figure.subplots(2, 3, sharey=True)
    for panel, metric in zip(axes.flat, METRICS, strict=True):
        whole = estimates.mean[0, 0, len(estimates.layers)]
        _heat(panel, whole[:, COMPOSED, METRICS.index(metric)].T, metric)
    figure.suptitle(
        "Agreement of composed with direct maps, all layers; the best of each column is framed", fontsize=9
    )
    return figure


def _heat(panel: Axes, values: np.ndarray, metric: str) -> None:
    """Shades are by rank within a column, so that one extreme value does not hide the others."""
    shades = _shade(values, metric)
    panel.imshow(shades, cmap="YlGnBu", vmin=0, vmax=1.35, aspect="auto")
    panel.set_title(f"{NAMES[metric]}\n({better(metric)})", fontsize=8)
    panel.set_xticks(range(len(DIRECT)), DIRECT, rotation=20, ha="right", fontsize=7)
    panel.set_yticks(range(len(PAIRS)), [f"{att} / {mlp} / {rule}" for att, mlp, rule in PAIRS], fontsize=6)
    panel.set_xlabel("direct", fontsize=7)
    panel.tick_params(length=0)
    for column in range(len(DIRECT)):
        best = _first(values[:, column], metric)
        for row in range(len(PAIRS)):
            weight = "bold" if row == best else "normal"
            panel.text(
                column, row, number(values[row, column]), ha="center", va="center", fontsize=6, weight=weight
            )
        frame = matplotlib.patches.Rectangle((column - 0.48, best - 0.48), 0.96, 0.96, fill=False, lw=1.2)
        panel.add_patch(frame)


def _first(values: np.ndarray, metric: str) -> int:
    sign = 1 if lower_is_better(metric) else -1
    return int(np.argmin(np.where(np.isnan(values), np.inf, sign * values)))


def _shade(values: np.ndarray, metric: str) -> np.ndarray:
    """1 for the best of a column, 0 for the worst."""
    sign = 1 if lower_is_better(metric) else -1
    ranks = (sign * values).argsort(axis=0).argsort(axis=0)
    return 1 - ranks / (len(values) - 1)
