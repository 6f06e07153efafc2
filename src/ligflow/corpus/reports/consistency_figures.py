"""Figures of a report: every metric by layer with bands, and all pairs as a heat map. SVG and PNG."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from ligflow.corpus.analysis.estimates import Estimates, Pair
from ligflow.corpus.analysis.rankings import compared, lower_is_better
from ligflow.corpus.analysis.rankings_in_words import NAMES, control, number
from ligflow.corpus.analysis.twins import Twins
from ligflow.corpus.reports.files import LOOK, write_figure
from ligflow.corpus.tables.schema import ATT, DIRECT, MLP, RULES
from ligflow.evaluation.bootstrap import interval
from ligflow.evaluation.consistency import METRICS

# Okabe and Ito's colours, which colour-blind readers can tell apart
_COLOURS = dict(zip(ATT, ("#E69F00", "#0072B2", "#CC79A7", "#009E73", "#D55E00", "#56B4E9"), strict=False))
_STYLES = dict(zip(MLP, ("--", "-", "-."), strict=False))
_GREYS = (":", "-.", (0, (1, 3)), (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (5, 5)), (0, (1, 1)), "--")
_GREY = "#777777"
_DARK = 0.7  # shades that black text would drown in


def draw(estimates: Estimates, twins: Mapping[str, Twins], folder: Path) -> list[Path]:
    """All figures of the first unit, with the target among the sources; their files."""
    written = write_figure(folder / "pairs", LOOK, heat_map, estimates)
    for direct in DIRECT:
        for rule in RULES:
            path = folder / f"layers-{direct}-{rule}"
            written += write_figure(path, LOOK, by_layer, estimates, twins, direct, rule)
    return written


def better(metric: str) -> str:
    """Which end of a metric is the good one."""
    return "lower is better" if lower_is_better(metric) else "higher is better"


# --- by layer -------------------------------------------------------------------------------------


def by_layer(estimates: Estimates, twins: Mapping[str, Twins], direct: str, rule: str) -> Figure:
    """One panel a metric, one line a pair; bands are 95% intervals over sentences, controls are grey."""
    figure = Figure(figsize=(7.2, 5.8), layout="constrained")
    axes = figure.subplots(2, 3, sharex=True)
    for panel, metric in zip(axes.flat, METRICS, strict=True):
        _panel(panel, estimates, twins, direct, rule, metric)
    for panel in axes[1]:
        panel.set_xlabel("layer")
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=7)
    figure.suptitle(f"Agreement with the direct map ({direct}), {rule} composition", fontsize=9)
    return figure


def _panel(
    panel: Axes, estimates: Estimates, twins: Mapping[str, Twins], direct: str, rule: str, metric: str
) -> None:
    layers, at = estimates.layers, (0, 0, slice(0, len(estimates.layers)), DIRECT.index(direct))
    draws = estimates.draws[(slice(None), *at)][..., METRICS.index(metric)]
    pairs = _drawn(estimates, direct, rule)
    for (att, mlp, _), n in pairs.items():
        low, high = interval(draws[1:, :, n])
        line: dict[str, Any] = {"color": _COLOURS[att], "linestyle": _STYLES[mlp], "linewidth": 1.2}
        panel.plot(layers, draws[0, :, n], label=f"ATT {att}, MLP {mlp}", marker=".", ms=3, **line)
        panel.fill_between(layers, low, high, color=_COLOURS[att], alpha=0.15, linewidth=0)
    for style, (kind, values) in zip(_GREYS, _controls(estimates, twins, pairs, at, metric), strict=False):
        label = f"{control(kind)} (best pair)"
        panel.plot(layers, _best(values, metric), label=label, linestyle=style, color=_GREY, linewidth=1.0)
    panel.set_title(f"{NAMES[metric]}\n({better(metric)})", fontsize=8)
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    _limit(panel, draws[0][:, list(pairs.values())], metric)


def _drawn(estimates: Estimates, direct: str, rule: str) -> dict[Pair, int]:
    """The pairs of a rule that are compared with a direct map, and where each stands among the others."""
    at = (0, 0, len(estimates.layers), DIRECT.index(direct), 0)
    return compared(estimates, at, (rule,))


def _controls(
    estimates: Estimates, twins: Mapping[str, Twins], pairs: Mapping[Pair, int], at: Any, metric: str
) -> Iterator[tuple[str, np.ndarray]]:
    """The values [layer, pair] of each control that some pair has."""
    number = METRICS.index(metric)
    for kind in estimates.controls:
        found = {place for pair in pairs if (place := estimates.place(kind, pair)) is not None}
        values = estimates.mean[at][:, sorted(found), number]
        if np.isfinite(values).any():
            yield kind, values
    for kind, of_kind in twins.items():
        yield kind, of_kind.draws[0][at][:, list(pairs.values()), number]


def _best(values: np.ndarray, metric: str) -> np.ndarray:
    """The best of the pairs at each layer; NaN where none is defined."""
    sign = 1 if lower_is_better(metric) else -1
    least = np.where(np.isnan(values), np.inf, sign * values).min(axis=1)
    return np.where(np.isinf(least), np.nan, sign * least)


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
    figure = Figure(figsize=(7.2, 2.2 + 0.34 * len(estimates.pairs)), layout="constrained")
    axes = figure.subplots(2, 3, sharey=True)
    for panel, metric in zip(axes.flat, METRICS, strict=True):
        whole = estimates.mean[0, 0, len(estimates.layers), :, :, METRICS.index(metric)]
        places = [estimates.others.index(("composed", *pair)) for pair in estimates.pairs]
        _heat(panel, whole[:, places].T, metric, estimates.pairs)
    figure.suptitle(
        "Agreement of composed with direct maps, all layers; the best of each column is framed", fontsize=9
    )
    return figure


def _heat(panel: Axes, values: np.ndarray, metric: str, pairs: Sequence[Pair]) -> None:
    """Shades are by rank within a column, so that one extreme value does not hide the others."""
    shades = _shade(values, metric)
    panel.imshow(shades, cmap="YlGnBu", vmin=0, vmax=1.35, aspect="auto")
    panel.set_title(f"{NAMES[metric]}\n({better(metric)})", fontsize=8)
    panel.set_xticks(range(len(DIRECT)), DIRECT, rotation=20, ha="right", fontsize=7)
    panel.set_yticks(range(len(pairs)), [" / ".join(pair) for pair in pairs], fontsize=6)
    panel.set_xlabel("direct", fontsize=7)
    panel.tick_params(length=0)
    for column in range(len(DIRECT)):
        best = _first(values[:, column], metric)
        for row in range(len(pairs)):
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
