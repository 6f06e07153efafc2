"""Figures of a flow for print, in matplotlib: heat maps, layer strips, head grids, ladders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from ligflow import names as screen
from ligflow.errors import LigflowError
from ligflow.extras import need
from ligflow.flow import Flow
from ligflow.names import NEEDS
from ligflow.storage import write_made
from ligflow.token_names import token_position
from ligflow.view.colour import shade
from ligflow.view.labels import trimmed
from ligflow.view.select import VIEWS, available, by_head, row_shares, select

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

TAKES = {  # what each kind can be told
    "heat": ("view", "layer", "head", "scale"),
    "layers": ("view", "scale"),
    "heads": ("layer", "scale"),
    "ladder": ("layer", "target"),
}
KINDS = tuple(TAKES)
SCALES = {
    "share": "share of the row's\nsum of magnitudes",
    "value": "signed value",
    "absolute": "magnitude, sign not shown",
}
FORMATS = ("svg", "pdf", "png")
_RC: Any = {
    "font.size": 8, "svg.fonttype": "path", "svg.hashsalt": "ligflow", "pdf.fonttype": 42,
    "axes.linewidth": 0.5, "hatch.linewidth": 0.5,
}  # fmt: skip
_CELL, _SMALLEST, _LARGEST = 0.22, 2.5, 12.0  # inches
_ACROSS = 6  # panels in a row of a figure
_LABELS = 60  # tokens beyond which labels are thinned out
_LETTER, _LETTERS = 0.07, 32  # inches a letter of a label, and letters beyond which it is cut
_BAR = 1.6  # inches that the colour bar's label takes
_MASS = 0.95  # of the magnitude of a ladder's links, that is drawn


@dataclass(frozen=True)
class _Panel:
    """One heat map: `values` [target, column] with their labels, and the rows that miss their tolerance."""

    values: Float[Tensor, "target column"]
    rows: list[str]
    columns: list[str]
    unmet: list[int]
    title: str
    kind: str  # of the columns: source or head


def plot(
    flow: Flow,
    kind: str = "heat",
    *,
    view: str | None = None,
    layer: int | None = None,
    head: int | None = None,
    target: int | str | None = None,
    scale: str | None = None,
    path: str | Path | None = None,
) -> Figure:
    """A figure of a flow.

    | kind | what |
    |---|---|
    | `heat` | one map (`view`, of one `layer`, for `z2u` of one `head` or their sum) |
    | `layers` | the same map of every layer, on one colour scale |
    | `heads` | `z2u` of one layer, head by head, on one colour scale |
    | `ladder` | tokens z, heads u and tokens z′ of one layer, with links by weight; of one `target` or all |

    A target is named by its position or by what it says (see `token_positions`).
    Rows are targets, columns are sources; rows that miss their tolerance are hatched. `scale` is `share` (of
    the row's sum of magnitudes, signed; the default), `value` or `absolute`. By default the first view that
    there is, and the last layer. With `path` the figure is saved as SVG, PDF or PNG.

    Raises LigflowError for a name, layer, head or target that there is not, an option that the kind does not
    take, routes that are missing, and if matplotlib is not installed.
    """
    _check(kind, path, {"view": view, "layer": layer, "head": head, "target": target, "scale": scale})
    figures = {"heat": _heat, "layers": _layers, "heads": _heads, "ladder": _ladder}
    layer = flow.layers[-1] if layer is None else layer
    flow.row(layer)
    target = None if target is None else token_position(target, flow.tokens, "target")
    view = chosen_view(flow, view)
    if head is not None and view != "z2u":
        raise LigflowError(f"head {head} is for view 'z2u', not for {view!r}.")
    with printing():
        figure: Figure = figures[kind](flow, view, layer, head, target, scale or "share")
        if path is not None:
            save(figure, Path(path))
    return figure


def _check(kind: str, path: str | Path | None, given: dict[str, Any]) -> None:
    if kind not in KINDS:
        raise LigflowError(f"Unknown kind {kind!r}; choose from {', '.join(KINDS)}.")
    for name, value in given.items():
        if value is not None and name not in TAKES[kind]:
            raise LigflowError(
                f"{name} does nothing for kind {kind!r}, which takes {', '.join(TAKES[kind])}."
            )
    scale = given["scale"] or "share"
    if scale not in SCALES:
        raise LigflowError(f"Unknown scale {scale!r}; choose from {', '.join(SCALES)}.")
    if path is not None:
        check_format(path)


def check_format(path: str | Path) -> None:
    """Raises LigflowError for a file that is no figure by its name."""
    if _format(Path(path)) not in FORMATS:
        raise LigflowError(f"Cannot save a figure as {Path(path).name!r}; end it in .{', .'.join(FORMATS)}.")


@contextmanager
def printing() -> Iterator[None]:
    """Letters and lines as all figures have them. Raises LigflowError if matplotlib is not installed."""
    with _matplotlib().rc_context(_RC):
        yield


def chosen_view(flow: Flow, view: str | None) -> str:
    """The view that is asked for, or the first that the flow's routes allow. Raises LigflowError."""
    if view is not None and view not in VIEWS:
        raise LigflowError(f"Unknown view {view!r}; choose from {', '.join(VIEWS)}.")
    found = available(flow)[0] if view is None else view
    lacking = NEEDS[found] - {*flow.routes}
    if lacking:
        raise LigflowError(
            f"View {found!r} needs route {', '.join(sorted(lacking))}, and this flow holds "
            f"{', '.join(flow.routes)}; explain with it."
        )
    return found


def _matplotlib() -> Any:
    need("figures", "A figure")
    import matplotlib
    import matplotlib.figure

    return matplotlib


def _format(path: Path) -> str:
    return path.suffix.removeprefix(".").lower()


def save(figure: Figure, path: str | Path) -> None:
    """Writes SVG, PDF or PNG, as the file's name ends; without dates, so that files can be compared."""
    path = Path(path)
    check_format(path)
    kind = _format(path)
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {"Software": None}}[kind]
    write_made(path, lambda file: figure.savefig(file, format=kind, dpi=200, metadata=metadata))


# --- heat maps ------------------------------------------------------------------------------------


def _heat(flow: Flow, view: str, layer: int, head: int | None, _: object, scale: str) -> Figure:
    panel = _panel(flow, view, layer, head, scale)
    rows, columns = panel.values.shape
    wide, tall = (_LETTER * max(map(len, labels)) for labels in (panel.rows, panel.columns))
    wide = max(1.1 + wide + _CELL * columns, 0.6 + _LETTER * len(panel.title))
    figure = empty(wide, 0.6 + tall + max(_CELL * rows, _BAR))
    axes = figure.subplots()
    _draw(axes, panel, _most([panel]), scale, small=False)
    figure.suptitle(panel.title, fontsize=9)
    _colour_bar(figure, [axes], scale)
    return figure


def _layers(flow: Flow, view: str, _: int, __: object, ___: object, scale: str) -> Figure:
    panels = [_panel(flow, view, layer, None, scale) for layer in flow.layers]
    return _grid(panels, [f"layer {layer}" for layer in flow.layers], scale, screen.title(view))


def _heads(flow: Flow, _: str, layer: int, __: object, ___: object, scale: str) -> Figure:
    if "z2u" not in flow.routes:
        raise LigflowError("Kind 'heads' needs route z2u; explain with it.")
    panels = [_panel(flow, "z2u", layer, head, scale) for head in range(flow.heads)]
    return _grid(
        panels, [f"head {head}" for head in range(flow.heads)], scale, f"Layer {layer}: what each head reads"
    )


def _grid(panels: Sequence[_Panel], titles: Sequence[str], scale: str, name: str) -> Figure:
    """Small heat maps on one colour scale."""
    across = min(_ACROSS, len(panels))
    down = ceil(len(panels) / across)
    figure = empty(1.5 * across + 0.8, 1.6 * down + 0.5)
    every = figure.subplots(down, across, squeeze=False).flat
    for axes, panel, title in zip(every, panels, titles, strict=False):
        _draw(axes, panel, _most(panels), scale, small=True)
        axes.set_title(title, fontsize=7)
    for axes in list(every)[len(panels) :]:
        axes.set_axis_off()
    figure.suptitle(f"{name}; rows are targets, columns are {panels[0].kind}s", fontsize=9)
    _colour_bar(figure, list(figure.axes), scale)
    return figure


def empty(width: float, height: float) -> Figure:
    """A figure of about this size, in inches."""
    size = [min(_LARGEST, max(_SMALLEST, inches)) for inches in (width, height)]
    figure: Figure = _matplotlib().figure.Figure(figsize=size, layout="constrained")
    return figure


def _panel(flow: Flow, view: str, layer: int, head: int | None, scale: str) -> _Panel:
    values, columns, name = select(flow, view, layer, head)
    bad = {
        cell.target
        for cell in flow.unmet
        if cell.layer == layer and cell.route in NEEDS[view] and (head is None or cell.head == head)
    }
    rows = [_short(trimmed(flow.tokens[target])) for target in flow.targets]
    unmet = [row for row, target in enumerate(flow.targets) if target in bad]
    kind = "head" if view == "u2z" else "source"
    return _Panel(_scaled(values, scale), rows, [_short(label) for label in columns], unmet, name, kind)


def _short(label: str) -> str:
    """A label that leaves room for the map beside it."""
    return label if len(label) <= _LETTERS else label[: _LETTERS - 1] + "…"


def _scaled(values: Float[Tensor, "target column"], scale: str) -> Float[Tensor, "target column"]:
    if scale == "share":
        return row_shares(values)
    return values.abs() if scale == "absolute" else values


def _most(panels: Sequence[_Panel]) -> float:
    """The magnitude at the end of the colour scale."""
    return max(float(panel.values.nan_to_num(0, 0, 0).abs().max()) for panel in panels) or 1.0


def _draw(axes: Axes, panel: _Panel, most: float, scale: str, small: bool) -> None:
    low = 0.0 if scale == "absolute" else -most
    axes.imshow(
        panel.values.numpy(), cmap=colours(scale), vmin=low, vmax=most, aspect="auto", interpolation="none"
    )
    for row in panel.unmet:
        place = ((-0.5, row - 0.5), len(panel.columns), 1)
        axes.add_patch(_matplotlib().patches.Rectangle(*place, fill=False, hatch="////", lw=0))
    axes.tick_params(length=0)
    if small:
        axes.set_xticks([])
        axes.set_yticks([])
        return
    _label(axes, panel)


def outline(axes: Axes, corner: tuple[float, float], width: float, height: float) -> None:
    """A frame that shows on dark and on bright ground."""
    for colour, line in (("black", 2.5), ("white", 1.0)):
        frame = _matplotlib().patches.Rectangle(corner, width, height, fill=False, ec=colour, lw=line)
        axes.add_patch(frame)


def _label(axes: Axes, panel: _Panel) -> None:
    for axis, labels in ((axes.xaxis, panel.columns), (axes.yaxis, panel.rows)):
        places = range(0, len(labels), ceil(len(labels) / _LABELS))
        axis.set_ticks(list(places), [labels[place] for place in places], fontsize=7, parse_math=False)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.tick_params(axis="x", rotation=90)
    axes.set_xlabel(f"{panel.kind} (column)")
    axes.set_ylabel("target (row)")


def colours(scale: str) -> Colormap:
    """Orange, white, blue as everywhere; white to blue for magnitudes."""
    ends = [shade(0.0), shade(1.0)] if scale == "absolute" else [shade(-1.0), shade(0.0), shade(1.0)]
    found: Colormap = _colors().LinearSegmentedColormap.from_list("ligflow", ends)
    return found


def _colors() -> Any:
    import matplotlib.colors

    return matplotlib.colors


def _colour_bar(figure: Figure, axes: list[Axes], scale: str) -> None:
    bar = figure.colorbar(axes[0].images[0], ax=axes, shrink=0.8, pad=0.02)
    bar.set_label(SCALES[scale])
    bar.outline.set_linewidth(0.3)


# --- ladders --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Links:
    """`first` [source, middle] and `last` [middle, target token]; the last middle node is the residual.

    Without heads there is `first` alone, [source, target token], of the map that `name` names.
    """

    first: Float[Tensor, "source middle"]
    last: Float[Tensor, "middle target"] | None
    name: str = ""


def links(flow: Flow, layer: int, target: int | None = None) -> Links:
    """What flows through each link of a ladder, summed over the targets, or of one target (a token).

    Through head h from source i to target j: `A_ijh / sum_k A_kjh * M_hj`. A head that did not move hands its
    M to the residual, as in the conserving map, whose rows these sums are.
    """
    count = len(flow.tokens)
    kept = [r for r, token in enumerate(flow.targets) if target is None or token == target]
    if not kept:
        raise LigflowError(f"Token {target} is no target of this flow, which holds {list(flow.targets)}.")
    place = [flow.targets[r] for r in kept]
    view = _ladder_view(flow)
    if view is not None:
        values, _, name = select(flow, view, layer, None)
        whole = torch.zeros(count, count, dtype=torch.float32, device="cpu")
        whole[:, place] = values[kept].T.float()
        return Links(whole, None, name)
    weights = by_head(flow, layer, kept).float()
    last = weights.new_zeros(flow.heads + 1, count)
    last[:, place] = weights.sum(-1)
    return Links(weights.sum(1).T, last)


def _ladder_view(flow: Flow) -> str | None:
    """The whole map to draw where links through heads cannot be: without both parts, or over words."""
    if not {"z2u", "u2z"} <= {*flow.routes}:
        if "z2z" not in flow.routes:
            held = ", ".join(flow.routes)
            raise LigflowError(f"Kind 'ladder' needs routes z2u and u2z, or z2z, and this flow holds {held}.")
        return "z2z"
    return "conserving" if "composed.conserving" in flow.tensors else None


def _ladder(flow: Flow, _: str, layer: int, __: object, target: int | None, ___: str) -> Figure:
    found = links(flow, layer, target)
    tokens = [_short(trimmed(token)) for token in flow.tokens]
    names = [tokens, tokens] if found.last is None else [tokens, [f"h{h}" for h in range(flow.heads)], tokens]
    titles = (
        ["z (sources)", "z′ (targets)"]
        if found.last is None
        else ["z (sources)", "u (heads)", "z′ (targets)"]
    )
    wide = max(5.0, 3.0 + 2 * _LETTER * max(map(len, tokens)))
    figure = empty(wide, 0.7 + 0.17 * max(map(len, names)))
    axes = figure.subplots()
    axes.set_axis_off()
    if found.last is not None:
        names[1] = [*names[1], "res"]
    places = [_places(len(labels), max(map(len, names))) for labels in names]
    columns = [found.first] if found.last is None else [found.first, found.last]
    most = max(float(weights.abs().max()) for weights in columns) or 1.0
    for column, weights in enumerate(columns):
        _draw_links(axes, weights, column, places, most)
    for column, (labels, title) in enumerate(zip(names, titles, strict=True)):
        _draw_nodes(axes, labels, title, column, places)
    whose = "" if target is None else f" of ‘{tokens[target]}’"
    what = f"{found.name}\n" if found.name else f"layer {layer}: "
    axes.set_title(
        f"{what}links{whose} that carry {_MASS:.0%} of the magnitude", fontsize=9, parse_math=False
    )
    return figure


def _places(count: int, most: int) -> list[float]:
    """Heights from 0 down, all columns equally tall."""
    return [-(place + 0.5) * most / count for place in range(count)]


def _draw_links(
    axes: Axes, weights: Float[Tensor, "one other"], column: int, places: list[list[float]], most: float
) -> None:
    """The strongest links that together carry most of the magnitude, the strongest on top.

    `most` is the strongest link of the whole ladder, so that widths compare across its columns.
    """
    size = weights.abs().flatten()
    order = size.argsort(descending=True)
    mass = size[order].cumsum(0)
    count = int((mass < _MASS * mass[-1]).sum()) + 1 if float(mass[-1]) else 0
    for link in reversed(order[:count].tolist()):
        start, end = divmod(link, weights.shape[1])
        strength = float(weights[start, end]) / most
        ends = places[column][start], places[column + 1][end]
        _draw_link(axes, column, ends, strength)


def _draw_link(axes: Axes, column: int, ends: tuple[float, float], strength: float) -> None:
    import matplotlib.patches
    import matplotlib.path

    left, right, half = column + 0.04, column + 0.96, column + 0.5
    points = [(left, ends[0]), (half, ends[0]), (half, ends[1]), (right, ends[1])]
    codes = [matplotlib.path.Path.MOVETO, *[matplotlib.path.Path.CURVE4] * 3]
    colour = shade(1.0 if strength > 0 else -1.0)
    style: Any = {
        "edgecolor": colour,
        "linewidth": 0.2 + 3 * abs(strength),
        "alpha": 0.1 + 0.8 * abs(strength),
    }
    axes.add_patch(
        matplotlib.patches.PathPatch(matplotlib.path.Path(points, codes), facecolor="none", **style)
    )


def _draw_nodes(axes: Axes, labels: list[str], title: str, column: int, places: list[list[float]]) -> None:
    last = column == len(places) - 1
    align: Any = "right" if column == 0 else "left" if last else "center"
    step = ceil(len(labels) / _LABELS)
    for place in range(0, len(labels), step):
        axes.text(
            column, places[column][place], labels[place], ha=align, va="center", fontsize=7, parse_math=False
        )
    axes.text(column, 0.6, title, ha="center", va="bottom", fontsize=7, color="#5d6470")
    axes.set_xlim(-0.35, len(places) - 1 + 0.35)
    axes.set_ylim(-max(len(one) for one in places) - 0.5, 1.6)
