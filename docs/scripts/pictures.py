"""Makes docs/pictures/flow.png: one layer of the embedded MiniLM on the demo sentence.

Run from the repository: .venv/bin/python docs/pictures.py
"""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.image import AxesImage
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Curve

from ligflow import Flow, explain

SENTENCE = (
    "The old lighthouse keeper counted the ships while the storm grew darker, and nobody else saw the light."
)
LAYER = 1
LIMIT = 25  # per cent of a row at which the colour saturates
LADDER_FROM = 9.0  # per cent of a row from which a rung is drawn
LEFT, RIGHT = 0.1, 0.93  # margins of the figure
FOLDER = Path(__file__).parent / "pictures"

ORANGE, PAPER, BLUE, INK, GREY = "#b34700", "#ffffff", "#1f5fa8", "#1c2733", "#66717d"
SIGNED = LinearSegmentedColormap.from_list("signed", [ORANGE, "#f2b98a", PAPER, "#9cc3e6", BLUE])


def per_cent(values: np.ndarray) -> np.ndarray:
    """Each row over the sum of its magnitudes."""
    return 100 * values / np.abs(values).sum(axis=1, keepdims=True)


def heat(axes: Axes, values: np.ndarray, columns: list[str], title: str, below: str) -> AxesImage:
    image = axes.imshow(values, cmap=SIGNED, vmin=-LIMIT, vmax=LIMIT, aspect="auto")
    axes.set_title(title, loc="left", fontsize=11, color=INK, fontweight="bold", pad=8)
    axes.set_xticks(range(len(columns)), columns, rotation=90, fontsize=8.5)
    axes.set_xlabel(below, fontsize=9.5, color=GREY, labelpad=6)
    axes.set_yticks(range(len(values)), [])
    axes.tick_params(length=0, colors=INK, pad=3)
    axes.set_xticks(np.arange(-0.5, len(columns)), minor=True)
    axes.set_yticks(np.arange(-0.5, len(values)), minor=True)
    axes.grid(which="minor", color="#e6eaee", linewidth=0.6)
    axes.tick_params(which="minor", length=0)
    for side in axes.spines.values():
        side.set_color("#c3cbd3")
    return image


def ladder(axes: Axes, values: np.ndarray, tokens: list[str]) -> None:
    """Sources above, targets below, a rung for every strong cell."""
    widths = np.array([len(token) + 3.0 for token in tokens])
    centres = np.cumsum(widths) - widths / 2
    for target, source in np.argwhere(np.abs(values) >= LADDER_FROM):
        share = values[target, source]
        above, below = centres[source], centres[target]
        points = [(above, 1.0), (above, 0.5), (below, 0.5), (below, 0.0)]
        curve = Curve(points, [Curve.MOVETO, Curve.CURVE4, Curve.CURVE4, Curve.CURVE4])
        colour, strength = BLUE if share > 0 else ORANGE, min(1.0, abs(share) / LIMIT)
        axes.add_patch(
            PathPatch(
                curve, fill=False, edgecolor=colour, linewidth=0.5 + 4 * strength, alpha=0.25 + 0.6 * strength
            )
        )
    for place, token in zip(centres, tokens, strict=True):
        axes.text(place, 1.06, token, ha="center", va="bottom", fontsize=9.5, color=INK)
        axes.text(place, -0.06, token, ha="center", va="top", fontsize=9.5, color=INK)
    axes.text(-1.5, 1.06, "source", ha="right", va="bottom", fontsize=9.5, color=GREY)
    axes.text(-1.5, -0.06, "target", ha="right", va="top", fontsize=9.5, color=GREY)
    axes.set(xlim=(-9, widths.sum()), ylim=(-0.18, 1.18))
    axes.axis("off")


def picture(flow: Flow) -> plt.Figure:
    row, tokens = flow.row(LAYER), list(flow.tokens)
    direct = per_cent(flow.z2z[row].numpy())
    composed = per_cent(flow.composed("conserving")[row].numpy())
    heads = per_cent(flow.u2z[row].numpy().T)

    figure = plt.figure(figsize=(13, 9.5), facecolor=PAPER)
    rows = figure.add_gridspec(
        2, 1, height_ratios=[1, 2.55], left=LEFT, right=RIGHT, top=0.93, bottom=0.155, hspace=0.22
    )
    ladder(figure.add_subplot(rows[0]), direct, tokens)
    panels = rows[1].subgridspec(1, 3, width_ratios=[20, 20, 12], wspace=0.06)
    first, second, third = (figure.add_subplot(cell) for cell in panels)
    heat(first, direct, tokens, "direct:  z → z′", "source")
    heat(second, composed, tokens, "composed:  z → u → z′", "source")
    image = heat(third, heads, [str(head) for head in range(flow.heads)], "by head:  u → z′", "head")
    third.tick_params(axis="x", labelrotation=0)
    first.set_yticks(range(len(tokens)), tokens, fontsize=8.5)
    first.set_ylabel("target", fontsize=9.5, color=GREY, labelpad=10)

    box = third.get_position()
    bar = figure.colorbar(image, cax=figure.add_axes((0.945, box.y0, 0.012, box.height)), extend="both")
    bar.set_label("per cent of the row", fontsize=9, color=GREY)
    bar.ax.tick_params(labelsize=8, colors=INK, length=2)
    bar.outline.set_visible(False)
    figure.text(
        LEFT,
        0.965,
        f"Who contributes to whom inside layer {LAYER} of MiniLM",
        fontsize=14,
        color=INK,
        fontweight="bold",
    )
    cells, worst = sum(flow.total(route).numel() for route in flow.routes), flow.worst_certificate()
    summary = f"{cells} cells of this layer, worst |certificate| {worst:.0e}"
    figure.text(RIGHT, 0.967, summary, fontsize=9.5, color=GREY, ha="right")
    note = (
        "A token's own cell is 0 by definition under the default baseline (itb). Special tokens are hidden."
    )
    figure.text(LEFT, 0.02, note, fontsize=9.5, color=GREY)
    return figure


def main() -> None:
    flow = explain(SENTENCE, layers=[LAYER]).hide_special()
    FOLDER.mkdir(exist_ok=True)
    figure = picture(flow)
    figure.savefig(FOLDER / "flow.png", dpi=110)
    print(f"wrote {FOLDER / 'flow.png'}: {(FOLDER / 'flow.png').stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
