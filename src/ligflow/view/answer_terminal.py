"""An answer in the terminal: what each of its tokens rests on, then the answer as a whole."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ligflow.results.prediction_data import PredictionData
from ligflow.view import prediction_terminal
from ligflow.view import prediction_words as words

_WORDS, _ROWS = 3, 40  # words that a row names, and rows of the table


def report(
    whole: PredictionData,
    rows: Sequence[PredictionData],
    console: Console,
    *,
    spans: str | None = None,
    details: bool = False,
    neurons: int | None = None,
) -> None:
    """Prints a line for each token of the answer, then what `prediction_terminal.report` says of all."""
    console.print(Text(f"the answer: ‘{words.shown(str(whole.meta.get('question', '')))}’", style="bold"))
    console.print(_table(rows[:_ROWS]))
    if len(rows) > _ROWS:
        left = sum(row.change for row in rows[_ROWS:])
        console.print(Text(f"{len(rows) - _ROWS} more tokens, which change by {words.number(left)} together"))
    console.print(Text("earlier tokens of the answer are kept: the prompt alone explains each"))
    console.print()
    prediction_terminal.report(whole, console, spans=spans, details=details, neurons=neurons)


def _table(rows: Sequence[PredictionData]) -> Table:
    """A row a token: its score in both runs, and the words it rests on most."""
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False, header_style="bold")
    for name in ("token", "score", "with reference", "change"):
        table.add_column(name, justify="left" if name == "token" else "right", no_wrap=True)
    table.add_column("made of")
    for row in rows:
        numbers = (f"{number:.3g}" for number in (row.value, row.reference_value))
        token = Text(words.shown(str(row.meta.get("question", ""))))
        table.add_row(token, *numbers, words.number(row.change), Text(made_of(row)))
    return table


def made_of(row: PredictionData, count: int = _WORDS) -> str:
    """`France 61%, capital 22%, of -4%`: the strongest words of a token."""
    every = words.units(row)
    named = zip(every, words.called_apart(every), strict=True)
    moved = [(unit, name) for unit, name in named if not unit.kept and unit.relevance]
    best = sorted(moved, key=lambda pair: -abs(pair[0].relevance))[:count]
    return ", ".join(f"{name} {words.percent(unit.relevance / row.scale)}" for unit, name in best)
