"""What all figures share: matplotlib, letters and sizes, colours, and files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ligflow.errors import LigflowError
from ligflow.extras import need
from ligflow.files import write_made
from ligflow.view.colour import shade

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

SCALES = {
    "share": "% of what moved the token",
    "value": "signed value",
    "absolute": "magnitude, sign not shown",
}
FORMATS = ("svg", "pdf", "png")
LABELS = 60  # tokens beyond which labels are thinned out
LETTER = 0.07  # inches of a letter of a label
_LETTERS = 32  # of a label, beyond which it is cut
_RC: Any = {
    "font.size": 8, "svg.fonttype": "path", "svg.hashsalt": "ligflow", "pdf.fonttype": 42,
    "axes.linewidth": 0.5, "hatch.linewidth": 0.5,
}  # fmt: skip
_SMALLEST, _LARGEST = 2.5, 12.0  # inches
_DPI = 300


def matplotlib() -> Any:
    """The library. Raises LigflowError if it is not installed."""
    need("figures", "A figure")
    import matplotlib
    import matplotlib.figure

    return matplotlib


@contextmanager
def printing() -> Iterator[None]:
    """Letters and lines as all figures have them. Raises LigflowError if matplotlib is not installed."""
    with matplotlib().rc_context(_RC):
        yield


def empty(width: float, height: float) -> Figure:
    """A figure of about this size, in inches."""
    size = [min(_LARGEST, max(_SMALLEST, inches)) for inches in (width, height)]
    figure: Figure = matplotlib().figure.Figure(figsize=size, layout="constrained")
    return figure


def short(label: str) -> str:
    """A label that leaves room for the map beside it."""
    return label if len(label) <= _LETTERS else label[: _LETTERS - 1] + "…"


def outline(axes: Axes, corner: tuple[float, float], width: float, height: float) -> None:
    """A frame that shows on dark and on bright ground."""
    for colour, line in (("black", 2.5), ("white", 1.0)):
        frame = matplotlib().patches.Rectangle(corner, width, height, fill=False, ec=colour, lw=line)
        axes.add_patch(frame)


def colours(scale: str) -> Colormap:
    """Orange, white, blue as everywhere; white to blue for magnitudes."""
    import matplotlib.colors

    ends = [shade(0.0), shade(1.0)] if scale == "absolute" else [shade(-1.0), shade(0.0), shade(1.0)]
    colour_map: Colormap = matplotlib.colors.LinearSegmentedColormap.from_list("ligflow", ends)
    return colour_map


def colour_bar(axes: Sequence[Axes], scale: str, label: str = "") -> None:
    """The scale of the images; shares are told in per cent."""
    import matplotlib.ticker

    laid, figure = axes[0].images[-1], axes[0].figure
    bar = figure.colorbar(laid, ax=list(axes), shrink=0.8, pad=0.02, label=label or SCALES[scale])
    if scale == "share":
        bar.formatter = matplotlib.ticker.PercentFormatter(1, symbol="")
    bar.outline.set_linewidth(0.3)


def check_format(path: str | Path) -> None:
    """Raises LigflowError for a file that is no figure by its name."""
    if _format(Path(path)) not in FORMATS:
        raise LigflowError(f"Cannot save a figure as {Path(path).name!r}; end it in .{', .'.join(FORMATS)}.")


def _format(path: Path) -> str:
    return path.suffix.removeprefix(".").lower()


def save(figure: Figure, path: str | Path) -> None:
    """Writes SVG, PDF or PNG, as the file's name ends; without dates, so that files can be compared."""
    path = Path(path)
    check_format(path)
    kind = _format(path)
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {"Software": None}}[kind]
    write_made(path, lambda file: figure.savefig(file, format=kind, dpi=_DPI, metadata=metadata))
