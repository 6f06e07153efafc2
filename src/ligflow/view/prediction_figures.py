"""Figures of a prediction for print, in matplotlib: the words, layers by tokens, heads by layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import ceil
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING

from rich.cells import cell_len

from ligflow.errors import LigflowError
from ligflow.results.prediction_data import PredictionData
from ligflow.view import prediction_words as words
from ligflow.view.canvas import (
    LABELS,
    LETTER,
    check_format,
    colour_bar,
    colours,
    empty,
    matplotlib,
    printing,
    save,
    short,
)
from ligflow.view.colour import on, shade
from ligflow.view.prediction_grids import Grid, by_depth, by_head

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ACROSS, _LINE = 80, 0.26  # letters in a line of the text, and its height in inches
_LINES = 40  # of the text, beyond which a page of print ends
_LETTER = 0.602 * 9 / 72  # inches of a letter of the text, of fixed width
_CELL = 0.18  # inches
_TITLE = 0.075  # inches of a letter of the title


def plot(prediction: PredictionData, kind: str = "words", path: str | Path | None = None) -> Figure:
    """A figure of a prediction.

    | kind | what |
    |---|---|
    | `words` | the text, each word on the colour of its relevance |
    | `layers` | relevance by depth, the answer first and the input last, and token |
    | `heads` | what each head and MLP contributes at all tokens together, by layer |

    With `path` the figure is saved as SVG, PDF or PNG.

    Raises LigflowError for an unknown kind, for `heads` of a prediction without heads, for a text that is
    too long for a page, and if matplotlib is not installed.
    """
    if kind not in KINDS:
        raise LigflowError(f"Unknown kind {kind!r}; choose from {', '.join(KINDS)}.")
    if path is not None:
        check_format(path)
    with printing():
        figure = _FIGURES[kind](prediction)
        if path is not None:
            save(figure, path)
    return figure


# --- the text -------------------------------------------------------------------------------------


def _words(prediction: PredictionData) -> Figure:
    """The text in lines of letters of fixed width."""
    placed = [*_placed(words.running(prediction.tokens))]
    lines = placed[-1][0] + 1
    if lines > _LINES:
        raise LigflowError(
            f"The text takes {lines} lines, and a figure has {_LINES}; to_html(path) shows all of it, and "
            "kind='layers' the strongest tokens."
        )
    shares = words.shares_of_strongest(prediction)
    figure = empty(_ACROSS * _LETTER + 0.3, lines * _LINE)
    axes = figure.subplots()
    titles = _titled(figure, _title(prediction))
    figure.set_figheight((lines + 0.4 + 0.8 * titles) * _LINE)  # no lower bound: a line is as tall everywhere
    axes.set(xlim=(0, _ACROSS), ylim=(lines - 0.5, -0.5))
    axes.set_axis_off()
    for place, (line, at, piece) in enumerate(placed):
        kept = prediction.kept[place]
        ground = "#ffffff" if kept else shade(shares[place])
        wide = cell_len(piece)
        axes.add_patch(matplotlib().patches.Rectangle((at, line - 0.4), wide, 0.8, fc=ground, lw=0))
        ink = "#888888" if kept else on(ground)
        axes.text(
            at + wide / 2, line, piece, color=ink, family="monospace", size=9, ha="center", va="center",
            parse_math=False,
        )  # fmt: skip
    return figure


def _placed(pieces: list[str]) -> Iterator[tuple[int, int, str]]:
    """Each piece with its line and where it begins there, without the blanks before it."""
    line = at = 0
    for piece, word in zip(pieces, _words_begun(pieces), strict=True):
        bare = short(piece.strip(" ")) or piece
        blank = len(piece) - len(piece.lstrip(" ")) if at and piece.strip(" ") else 0
        needed = max(blank + cell_len(bare), word if word <= _ACROSS else 0)
        if at and at + needed > _ACROSS:
            line, at, blank = line + 1, 0, 0
        yield line, at + blank, bare
        at += blank + cell_len(bare)


def _words_begun(pieces: list[str]) -> list[int]:
    """How wide the word is that begins with each piece; 0 inside a word."""
    widths, first = [0] * len(pieces), 0
    for place, piece in enumerate(pieces):
        if piece.startswith(" ") or (place and pieces[place - 1].endswith("⏎")):
            first = place
        widths[first] += cell_len(piece)
    return widths


def _title(prediction: PredictionData) -> str:
    return f"{words.question_called(prediction)}: {words.LEGEND}; grey is kept"


# --- grids ----------------------------------------------------------------------------------------


def _layers(prediction: PredictionData) -> Figure:
    return _drawn(by_depth(prediction, LABELS), f"{words.question_called(prediction)}, by depth and token")


def _heads(prediction: PredictionData) -> Figure:
    grid = by_head(prediction)
    if not grid.rows:
        raise LigflowError(
            "This prediction has no heads or MLPs: they come with cut='modules', where layers can be taken "
            "apart."
        )
    return _drawn(grid, f"{words.question_called(prediction)}, by layer and head")


def _drawn(grid: Grid, title: str) -> Figure:
    """A heat map on one colour scale; grey where there is no such part."""
    tall, wide = (LETTER * max(map(len, labels)) for labels in (grid.columns, grid.rows))
    figure = empty(_CELL * len(grid.columns) + wide + 1.4, _CELL * len(grid.rows) + tall + 0.6)
    _titled(figure, title)
    axes = figure.subplots()
    most = float(grid.values.nan_to_num().abs().amax()) or 1.0
    axes.set_facecolor("#e4e4e4")
    axes.imshow(
        grid.values.numpy(),
        cmap=colours("value"),
        vmin=-most,
        vmax=most,
        aspect="equal",
        interpolation="none",
    )
    _label(axes, grid)
    colour_bar([axes], "value", "relevance")
    return figure


def _titled(figure: Figure, title: str) -> int:
    """Puts a title on a figure, in as many lines as it takes, which are counted."""
    lines = wrap(title, int(figure.get_figwidth() / _TITLE))
    figure.suptitle("\n".join(lines), x=0.01, ha="left", fontsize=9, parse_math=False)
    return len(lines)


def _label(axes: Axes, grid: Grid) -> None:
    for axis, labels in ((axes.xaxis, grid.columns), (axes.yaxis, grid.rows)):
        places = range(0, len(labels), ceil(len(labels) / LABELS))
        names = [short(labels[place]) for place in places]
        axis.set_ticks(list(places), names, fontsize=7, parse_math=False)
    axes.xaxis.tick_top()
    axes.tick_params(axis="x", rotation=90)
    axes.tick_params(length=0)


_FIGURES: dict[str, Callable[[PredictionData], Figure]] = {
    "words": _words,
    "layers": _layers,
    "heads": _heads,
}
KINDS = tuple(_FIGURES)
