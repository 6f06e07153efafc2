"""A prediction in the terminal: what the model says, what speaks for it and against it, what adds up."""

from collections.abc import Iterable, Iterator

from rich.cells import cell_len
from rich.console import Console
from rich.style import Style
from rich.table import Table
from rich.text import Text

from ligflow.inputs.labels import trimmed
from ligflow.results.prediction_data import PredictionData
from ligflow.results.span_relevance import SpanRelevance, by
from ligflow.view import prediction_words as words
from ligflow.view.colour import on, shade
from ligflow.view.features import report as report_features

_WORDS, _PARTS = 8, 5  # rows of the tables
_LINES, _AROUND = 8, 4  # lines of the text that are shown, and tokens around a strong word of a longer one


def report(
    prediction: PredictionData,
    console: Console,
    *,
    spans: str | None = None,
    details: bool = False,
    neurons: int | None = None,
) -> None:
    """Prints the answer first, then the words by size, the strongest heads and MLPs, and what adds up.

    With `spans` the table sums over these (turns, passages, ...); with `details` every segment of the model
    is listed with what it may be off. Of hidden units `neurons` are listed, where some are stored.
    """
    for line in words.said(prediction):
        console.print(Text(line))
    console.print()
    console.print(_text(prediction, console.width))
    if console.color_system is not None:
        console.print(Text(words.LEGEND))
    console.print()
    every = words.units(prediction) if spans is None else by(prediction, spans)
    called = words.units_called(prediction) if spans is None else spans
    console.print(_units(prediction, every, called))
    for line in (*_rest(every, called), words.kept(prediction)):
        if line:
            console.print(Text(line))
    _print_parts(prediction, console, neurons)
    for features in prediction.stored_features:
        console.print()
        report_features(features, console, scale=prediction.scale)
    console.print()
    for line in (
        words.shares_said(prediction),
        words.adds_up(prediction),
        *words.missed(prediction),
        words.CAVEAT,
    ):
        console.print(Text(line))
    if details:
        console.print(_segments(prediction))


# --- the text -------------------------------------------------------------------------------------


def _text(prediction: PredictionData, width: int) -> Text:
    """The text with each word on the colour of its relevance; of a long one what is around strong words."""
    pieces = words.running(prediction.tokens)
    shares = words.shares_of_strongest(prediction)
    visible = _visible(pieces, shares, width * _LINES)
    text, left = Text(), 0
    for place, piece in enumerate(pieces):
        if place not in visible:
            left += 1
            continue
        if left:
            text.append(f" … {left} tokens … ", style="dim")
        left = 0
        blank = len(piece) - len(piece.lstrip(" "))
        text.append(piece[:blank] if place else "")
        text.append(piece[blank:], style=_style(prediction, place, shares[place]))
    if left:
        text.append(f" … {left} tokens", style="dim")
    return text


def _visible(pieces: list[str], shares: list[float], room: int) -> set[int]:
    """All tokens where they fit, else the strongest with those around them, as many as fit."""
    if sum(map(cell_len, pieces)) <= room:
        return {*range(len(pieces))}
    visible: set[int] = set()
    for place in sorted(range(len(pieces)), key=lambda place: -abs(shares[place])):
        around = range(max(0, place - _AROUND), min(len(pieces), place + _AROUND + 1))
        more = visible | {*around}
        if sum(cell_len(pieces[at]) for at in more) > room // 2:  # the other half is for what is left out
            break
        visible = more
    return visible or {0}


def _style(prediction: PredictionData, place: int, share: float) -> Style:
    if prediction.kept[place]:
        return Style(dim=True)
    background = shade(share)
    return Style(bgcolor=background, color=on(background))


# --- the tables -----------------------------------------------------------------------------------


def _units(prediction: PredictionData, every: list[SpanRelevance], called: str) -> Table:
    """The strongest words by size."""
    table = _table(called, "relevance", "share", "error")
    names = dict(zip(map(id, every), words.called_apart(every), strict=True))
    for unit in _ranked(every)[:_WORDS]:
        share = words.percent(unit.relevance / prediction.scale)
        name = Text(names[id(unit)])
        table.add_row(name, words.number(unit.relevance), share, f"{unit.error:.1g}")
    return table


def _table(first: str, *columns: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False, header_style="bold")
    table.add_column(first, overflow="fold")  # where it is narrow, names are broken and numbers never
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _ranked(every: Iterable[SpanRelevance]) -> list[SpanRelevance]:
    """All that move, by size; those that are kept in both runs have no relevance."""
    return sorted((unit for unit in every if not unit.kept), key=lambda unit: -abs(unit.relevance))


def _rest(every: list[SpanRelevance], called: str) -> Iterator[str]:
    """What is not in the table, counted and added up."""
    left = _ranked(every)[_WORDS:]
    if left:
        name = f"{called}s" if len(left) > 1 and not called.endswith("s") else called
        yield f"{len(left)} more {name}: {words.number(sum(unit.relevance for unit in left))} together"


def _print_parts(prediction: PredictionData, console: Console, neurons: int | None) -> None:
    """The strongest heads, MLPs and what else there is, a table each."""
    for title, parts in words.strongest(prediction, _PARTS, neurons):
        console.print()
        table = _table(title, "relevance", "share")
        for said, relevance in parts:
            table.add_row(Text(said), words.number(relevance), words.percent(relevance / prediction.scale))
        console.print(table)


def _segments(prediction: PredictionData) -> Table:
    """Every segment of the model: how many points it took, and what it may be off."""
    table = _table("segment", "points", "sum off by", "estimated error", "allowed")
    for segment in prediction.certificates:
        numbers = (f"{number:.1e}" for number in (segment.residue, segment.error, segment.allowance))
        name = segment.name if segment.met else f"{segment.name} (missed)"
        table.add_row(Text(trimmed(name)), str(segment.points), *numbers)
    return table
