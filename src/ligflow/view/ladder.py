"""Ladders in matplotlib: tokens before a layer, its heads, tokens after it, and what flows between them."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from ligflow.errors import LigflowError
from ligflow.inputs.labels import told_apart
from ligflow.results.flow_data import FlowData
from ligflow.view.canvas import LABELS, LETTER, empty, short
from ligflow.view.colour import shade
from ligflow.view.select import by_head, knows_heads, select

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MASS = 0.95  # of the magnitude of a ladder's links, that is drawn


@dataclass(frozen=True)
class Links:
    """`first` [source, middle] and `last` [middle, target token]; the last middle node is the residual.

    Without heads there is `first` alone, [source, target token], of the map that `name` names.
    """

    first: Float[Tensor, "source middle"]
    last: Float[Tensor, "middle target"] | None
    name: str = ""


def links(flow: FlowData, layer: int, target: int | None = None) -> Links:
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


def _ladder_view(flow: FlowData) -> str | None:
    """The whole map to draw where links through heads cannot be: without both parts, or over words."""
    if not {"z2u", "u2z"} <= {*flow.routes}:
        if "z2z" not in flow.routes:
            routes = ", ".join(flow.routes)
            raise LigflowError(
                f"Kind 'ladder' needs routes z2u and u2z, or z2z, and this flow holds {routes}."
            )
        return "z2z"
    return None if knows_heads(flow) else "conserving"


def ladder(flow: FlowData, layer: int, target: int | None) -> Figure:
    """The links of one layer by weight, of one target or all."""
    flows = links(flow, layer, target)
    tokens = [short(label) for label in told_apart(flow.tokens)]
    names = [tokens, tokens] if flows.last is None else [tokens, [f"h{h}" for h in range(flow.heads)], tokens]
    titles = ["sources", "targets"] if flows.last is None else ["sources", "heads", "targets"]
    wide = max(5.0, 3.0 + 2 * LETTER * max(map(len, tokens)))
    figure = empty(wide, 0.7 + 0.17 * max(map(len, names)))
    axes = figure.subplots()
    axes.set_axis_off()
    if flows.last is not None:
        names[1] = [*names[1], "res"]
    places = [_places(len(labels), max(map(len, names))) for labels in names]
    columns = [flows.first] if flows.last is None else [flows.first, flows.last]
    most = max(float(weights.abs().max()) for weights in columns) or 1.0
    for column, weights in enumerate(columns):
        _draw_links(axes, weights, column, places, most)
    for column, (labels, title) in enumerate(zip(names, titles, strict=True)):
        _draw_nodes(axes, labels, title, column, places)
    whose = "" if target is None else f" of ‘{tokens[target]}’"
    what = f"{flows.name}\n" if flows.name else f"Layer {layer}: "
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
    step = ceil(len(labels) / LABELS)
    for place in range(0, len(labels), step):
        axes.text(
            column, places[column][place], labels[place], ha=align, va="center", fontsize=7, parse_math=False
        )
    axes.text(column, 0.6, title, ha="center", va="bottom", fontsize=7, color="#5d6470")
    axes.set_xlim(-0.35, len(places) - 1 + 0.35)
    axes.set_ylim(-max(len(column_places) for column_places in places) - 0.5, 1.6)
