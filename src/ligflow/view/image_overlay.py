"""A row of a map laid over the image that it is about: what each patch contributes to one target."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ligflow.errors import LigflowError
from ligflow.inputs.labels import printable
from ligflow.inputs.patches import Patches
from ligflow.inputs.token_names import token_position
from ligflow.results.flow_data import FlowData
from ligflow.view import canvas
from ligflow.view.figures import chosen_view
from ligflow.view.select import row_shares, select

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CLEAR, _WIDTH = 0.65, 3.6  # how strong the colours lie over the image; inches


def overlay(
    flow: FlowData,
    image: Any,
    target: int | str | None = None,
    *,
    layer: int | None = None,
    view: str | None = None,
    head: int | None = None,
    path: str | Path | None = None,
) -> Figure:
    """A figure: the image, and over it the shares of its patches in one target's row.

    `image` is what the model saw, `[height, width]` or `[height, width, 3]` (an array or a PIL image). By
    default the target is the first token (the class token where there is one), of the last layer, in the
    first map that there is. The target's own patch is outlined. What is no patch is in the title.

    Raises LigflowError for a flow that is not of an image, an image of another form, a view, layer, head or
    target that there is not, and if matplotlib is not installed.
    """
    grid = grid_of(flow)
    pixels = _pixels(image, grid)
    layer = flow.layers[-1] if layer is None else layer
    target = flow.targets[0] if target is None else token_position(target, flow.tokens, "target")
    if target not in flow.targets:
        raise LigflowError(f"There is no target {target}; this flow has {list(flow.targets)}.")
    view = _of_patches(chosen_view(flow, view), head)
    values, _, title = select(flow, view, layer, head)
    shares = row_shares(values)[flow.targets.index(target)]
    with canvas.printing():
        figure = _figure(pixels)
        _draw(figure.axes[0], pixels, _by_patch(shares, grid), grid, target - grid.first)
        figure.axes[0].set_title(_title(flow, shares, grid, title, target), fontsize=8, parse_math=False)
        if path is not None:
            canvas.save(figure, path)
    return figure


def grid_of(flow: FlowData) -> Patches:
    """The patches that a flow's tokens are."""
    layout = flow.meta.get("patches")
    if layout is None:
        raise LigflowError(
            "This flow's tokens are not known to be patches of an image: that takes pixel_values of one "
            "image, cut into squares of the config's patch_size."
        )
    return Patches(**layout)


def _by_patch(shares: Float[Tensor, " source"], grid: Patches) -> Float[Tensor, "row column"]:
    return shares[grid.first : grid.first + grid.count].reshape(grid.rows, grid.columns)


def _of_patches(view: str, head: int | None) -> str:
    """The view, if its sources are patches; a head only where it has heads."""
    if view == "u2z":
        raise LigflowError("The sources of u2z are heads, not patches; overlay z2z, z2u, or a composed map.")
    if head is not None and view != "z2u":
        raise LigflowError(f"{view} has no heads; leave out head={head}, or overlay view='z2u'.")
    return view


def _pixels(image: Any, grid: Patches) -> np.ndarray:
    """The image with its values from 0 to 1."""
    pixels = np.asarray(image.detach().cpu() if isinstance(image, torch.Tensor) else image)
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (3, 4)):
        raise LigflowError(
            f"The image has shape {pixels.shape}; pass [height, width] or [height, width, 3], e.g. the "
            "picture that was given to the processor, or pixel_values[0].permute(1, 2, 0)."
        )
    high, wide = pixels.shape[:2]
    # less than a patch may be left over at the ends of rows and columns
    if not grid.rows / (grid.columns + 1) < high / max(wide, 1) < (grid.rows + 1) / grid.columns:
        raise LigflowError(
            f"The image is {high} high and {wide} wide, and its patches {grid.rows} by {grid.columns}: pass "
            "the image as the model saw it, resized and cut, e.g. pixel_values[0].permute(1, 2, 0)."
        )
    pixels = pixels.astype(float)
    if not np.isfinite(pixels).all():
        raise LigflowError("The image has NaN or infinite values.")
    low, high = pixels.min(), pixels.max()
    return pixels / 255 if low >= 0 and 1 < high <= 255 else (pixels - low) / max(high - low, 1e-12)


def _figure(pixels: np.ndarray) -> Figure:
    high, wide = pixels.shape[:2]
    figure: Figure = canvas.empty(_WIDTH + 1.2, _WIDTH * high / wide + 0.4)
    figure.add_subplot()
    return figure


def _draw(
    axes: Axes, pixels: np.ndarray, values: Float[Tensor, "row column"], grid: Patches, own: int
) -> None:
    """Image and patches in the image's own coordinates, so that both cover the same area."""
    high, wide = pixels.shape[:2]
    extent, most = (0, wide, high, 0), float(values.abs().max()) or 1.0
    # drawn pale, so that the colours tell shares and not the image's shadows
    grey = pixels if pixels.ndim == 2 else pixels[..., :3].mean(-1)
    axes.imshow(grey, cmap="gray", vmin=-1, vmax=1, extent=extent, interpolation="nearest")
    axes.imshow(
        values.numpy(), cmap=canvas.colours("share"), vmin=-most, vmax=most, alpha=_CLEAR, extent=extent,
        interpolation="nearest",
    )  # fmt: skip
    axes.set_axis_off()
    if own >= 0:
        row, column = divmod(own, grid.columns)
        size = (wide / grid.columns, high / grid.rows)
        canvas.outline(axes, (column * size[0], row * size[1]), *size)
    canvas.colour_bar([axes], "share")


def _title(flow: FlowData, shares: Float[Tensor, " source"], grid: Patches, title: str, target: int) -> str:
    others = [
        f"{printable(flow.tokens[n])} {100 * float(shares[n]):+.0f}%"
        for n in range(len(flow.tokens))
        if not grid.first <= n < grid.first + grid.count
    ]
    beside = f"\nnot on the image: {', '.join(others[:4])}" if others else ""
    return f"{title}\ntarget {target}, {printable(flow.tokens[target])}{beside}"
