"""Heat maps in matplotlib: one map, one a layer, one a head, the maps of a layer side by side, a trace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

from jaxtyping import Float
from torch import Tensor

from ligflow import names
from ligflow.errors import LigflowError
from ligflow.inputs.labels import told_apart
from ligflow.names import NEEDS
from ligflow.results.flow_data import FlowData
from ligflow.results.tracing import trace
from ligflow.view.canvas import LABELS, LETTER, colour_bar, colours, empty, matplotlib, short
from ligflow.view.highlights import highlights, stands_aside
from ligflow.view.select import available, row_shares, select

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CELL = 0.22  # inches
_ACROSS = 6  # panels in a row of a figure
_NAMED = 20  # tokens up to which the panels of a grid have labels
_BAR = 1.6  # inches that the colour bar's label takes


@dataclass(frozen=True, eq=False)
class Panel:
    """One heat map: `values` [row, column] with their labels, and the rows that miss their tolerance."""

    values: Float[Tensor, "row column"]
    rows: list[str]
    columns: list[str]
    unmet: list[int]
    title: str
    kind: str  # of the columns: source, head or token


def heat(flow: FlowData, view: str, layer: int, head: int | None, scale: str) -> Figure:
    """One map."""
    panel = _panel(flow, view, layer, head, scale)
    return _alone(panel, scale)


def by_layer(flow: FlowData, view: str, scale: str) -> Figure:
    """The same map of every layer."""
    panels = [_panel(flow, view, layer, None, scale) for layer in flow.layers]
    return _grid(panels, [f"layer {layer}" for layer in flow.layers], scale, names.title(view).capitalize())


def by_head(flow: FlowData, layer: int, scale: str) -> Figure:
    """What every head of a layer reads."""
    if "z2u" not in flow.routes:
        raise LigflowError("Kind 'heads' needs route z2u; explain with it.")
    panels = [_panel(flow, "z2u", layer, head, scale) for head in range(flow.heads)]
    titles = [f"head {head}" for head in range(flow.heads)]
    return _grid(panels, titles, scale, f"Layer {layer}: what each head reads")


def overview(flow: FlowData, layer: int, scale: str) -> Figure:
    """The maps of a layer side by side: direct, through the heads, and which heads write."""
    views = [view for view in ("z2z", "conserving", "u2z") if view in available(flow)] or available(flow)[:1]
    hidden = highlights(flow).hidden
    panels = [_panel(flow, view, layer, None, scale, hidden) for view in views]
    tall = max(_CELL * len(panels[0].rows), _BAR) + 1.1 + _names(panels[0].columns)
    widths = [max(2.0, _CELL * len(panel.columns)) for panel in panels]
    figure = empty(1.4 + _names(panels[0].rows) + sum(widths), tall)
    every = figure.subplots(1, len(panels), squeeze=False, width_ratios=widths)[0]
    for place, (axes, panel) in enumerate(zip(every, panels, strict=True)):
        _draw(axes, panel, _most(panels), scale)
        _label(axes, panel, rows=place == 0, columns=True)
        axes.set_title(panel.title.partition(": ")[2], fontsize=8)
    aside = f"; hidden: {stands_aside(flow, highlights(flow))}" if hidden else ""
    figure.suptitle(f"Who moves whom in layer {layer}{aside}", fontsize=9)
    colour_bar(list(every), scale)
    return figure


def traced(flow: FlowData, layer: int, target: int | None, view: str | None) -> Figure:
    """A token followed down to the input: the relevance of every token at every depth."""
    token = highlights(flow).target if target is None else target
    which = {None: "composed" if "conserving" in available(flow) else "z2z", "conserving": "composed"}
    relevance_trace = trace(flow, token, layer, which.get(view, str(view)))
    rows = [f"after layer {number}" for number in relevance_trace.layers] + ["input"]
    label = told_apart(flow.tokens)[token]
    title = f"‘{label}’ from layer {layer} down to the input"
    names = [short(name) for name in told_apart(flow.tokens)]
    panel = Panel(relevance_trace.relevance.float(), rows, names, [], title, "token")
    return _alone(panel, "share", "% of the relevance")


def _alone(panel: Panel, scale: str, label: str = "") -> Figure:
    rows, columns = panel.values.shape
    wide = max(1.1 + _names(panel.rows) + _CELL * columns, 0.6 + LETTER * len(panel.title))
    figure = empty(wide, 0.6 + _names(panel.columns) + max(_CELL * rows, _BAR))
    axes = figure.subplots()
    _draw(axes, panel, _most([panel]), scale)
    _label(axes, panel, rows=True, columns=True)
    if panel.kind != "token":
        axes.set_xlabel(f"{panel.kind} (column)")
        axes.set_ylabel("target (row)")
    figure.suptitle(panel.title, fontsize=9, parse_math=False)
    colour_bar([axes], scale, label)
    return figure


def _grid(panels: Sequence[Panel], titles: Sequence[str], scale: str, name: str) -> Figure:
    """Small heat maps on one colour scale, with labels at the edges where tokens are few."""
    across = min(_ACROSS, len(panels))
    down = ceil(len(panels) / across)
    named = max(map(max, [[len(panel.rows), len(panel.columns)] for panel in panels])) <= _NAMED
    edge = max(1.5, 0.11 * len(panels[0].columns)) if named else 1.5
    margins = (_names(panels[0].rows), _names(panels[0].columns)) if named else (0.0, 0.0)
    figure = empty(edge * across + 0.8 + margins[0], (edge + 0.1) * down + 0.5 + margins[1])
    every = figure.subplots(down, across, squeeze=False).flat
    for place, (axes, panel, title) in enumerate(zip(every, panels, titles, strict=False)):
        _draw(axes, panel, _most(panels), scale)
        _label(axes, panel, rows=named and place % across == 0, columns=named and place < across, size=5)
        axes.set_title(title, fontsize=7)
    for axes in list(every)[len(panels) :]:
        axes.set_axis_off()
    figure.suptitle(f"{name}; rows are targets, columns are {panels[0].kind}s", fontsize=9)
    colour_bar([axes for axes in figure.axes if axes.images], scale)
    return figure


def _panel(
    flow: FlowData, view: str, layer: int, head: int | None, scale: str, hidden: Sequence[int] = ()
) -> Panel:
    values, columns, name = select(flow, view, layer, head)
    bad = {
        cell.target
        for cell in flow.unmet
        if cell.layer == layer and cell.route in NEEDS[view] and (head is None or cell.head == head)
    }
    names = told_apart(flow.tokens)
    rows = [short(names[target]) for target in flow.targets]
    unmet = [row for row, target in enumerate(flow.targets) if target in bad]
    kind = "head" if view == "u2z" else "source"
    kept = [place for place in range(len(columns)) if kind == "head" or place not in hidden]
    shown = [short(columns[place]) for place in kept]
    return Panel(_scaled(values[:, kept], scale), rows, shown, unmet, name, kind)


def _scaled(values: Float[Tensor, "target column"], scale: str) -> Float[Tensor, "target column"]:
    if scale == "share":
        return row_shares(values)
    return values.abs() if scale == "absolute" else values


def _most(panels: Sequence[Panel]) -> float:
    """The magnitude at the end of the colour scale."""
    return max(float(panel.values.nan_to_num(0, 0, 0).abs().max()) for panel in panels) or 1.0


def _names(labels: Sequence[str]) -> float:
    """The inches that labels take."""
    return LETTER * max(map(len, labels))


def _draw(axes: Axes, panel: Panel, most: float, scale: str) -> None:
    low = 0.0 if scale == "absolute" else -most
    axes.imshow(
        panel.values.numpy(), cmap=colours(scale), vmin=low, vmax=most, aspect="equal", interpolation="none"
    )
    for row in panel.unmet:
        place = ((-0.5, row - 0.5), len(panel.columns), 1)
        axes.add_patch(matplotlib().patches.Rectangle(*place, fill=False, hatch="////", lw=0))
    axes.tick_params(length=0)


def _label(axes: Axes, panel: Panel, *, rows: bool, columns: bool, size: int = 7) -> None:
    for axis, labels, shown in ((axes.xaxis, panel.columns, columns), (axes.yaxis, panel.rows, rows)):
        places = range(0, len(labels), ceil(len(labels) / LABELS)) if shown else ()
        axis.set_ticks(list(places), [labels[place] for place in places], fontsize=size, parse_math=False)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.tick_params(axis="x", rotation=90)
    axes.tick_params(length=0)
