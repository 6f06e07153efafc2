"""A prediction as static HTML, for notebooks and where no script runs. All text is escaped."""

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from math import isnan

from torch import Tensor

from ligflow.inputs.labels import printable
from ligflow.results.prediction_data import PredictionData
from ligflow.results.span_relevance import SpanRelevance, by, known_spans
from ligflow.view import prediction_words as words
from ligflow.view import self_contained
from ligflow.view.features import fragment as fragment_of_features
from ligflow.view.listed import listed
from ligflow.view.prediction_grids import Grid, by_depth, by_head

_DARK = """
@media (prefers-color-scheme: dark) { html { background: #16191f; color-scheme: dark; }
  .ligflow-why { --paper: #16191f; --text: #e8eaee; --faint: #a2a9b5; --line: #363c47; --soft: #20242c;
    --for: #4a9df0; --against: #ef8332; --on: #0b0d10; } }
"""
_WORDS, _PARTS = 12, 8  # rows of the tables; the other words are folded
_DEEP = 0.8  # strength of a colour from which letters on it change theirs
_NUMBERS = ("relevance", "share", "error")


def fragment(prediction: PredictionData) -> str:
    """The prediction in a notebook: numbers are titles of words and cells."""
    return styled(body(prediction))


def styled(shown: str, dark: bool = False) -> str:
    """Static HTML with its style sheet; `dark` where the system asks for it."""
    style = self_contained.asset("answer_viewer/static.css") + (_DARK if dark else "")
    return f'<div class="ligflow-why"><style>{style}</style>{shown}</div>'


def body(prediction: PredictionData) -> str:
    """What the page says, in the order in which it is read."""
    first, *others = words.said(prediction)
    lines = "".join(f"<p>{escape(line)}</p>\n" for line in others)
    return (
        f"<h1>{escape(first[0].upper() + first[1:])}</h1>\n{lines}"
        f"{_text(prediction)}{_legend()}{_kept(prediction)}"
        f"{_passages(prediction)}{_words_table(prediction)}{_parts(prediction)}{_features(prediction)}{_grids(prediction)}{_certified(prediction)}"
    )


# --- words ----------------------------------------------------------------------------------------


def _text(prediction: PredictionData) -> str:
    """The whole text, each token on the colour of its word."""
    every = words.units(prediction)
    most = max(abs(unit.relevance) for unit in every) or 1.0
    of_token = {place: unit for unit in every for place in unit.positions}
    spans = []
    for place, piece in enumerate(words.running(prediction.tokens)):
        unit = of_token[place]
        blank = " " * (len(piece) - len(piece.lstrip(" ")))
        if prediction.kept[place]:
            said = f"{words.shown(piece)}: {words.KEPT}"
            style = f'class="kept" title="{_attribute(said)}"'
        else:
            style = f'{_coloured(unit.relevance / most)} title="{_attribute(_numbers(prediction, unit))}"'
        broken = "\n" * piece.endswith("⏎")  # a line of the text ends here
        spans.append(f"{blank}<span {style}>{escape(piece.lstrip(' '))}</span>{broken}")
    return f'<p class="words">{"".join(spans).strip()}</p>\n'


def _numbers(prediction: PredictionData, unit: SpanRelevance) -> str:
    share = words.percent(unit.relevance / prediction.scale)
    return f"{words.shown(unit.name)}: {unit.relevance:+.4g} ({share}), estimated error {unit.error:.1g}"


def _coloured(share: float, more: str = "") -> str:
    """Class and strength of a colour; small shares are lifted by a square root."""
    strength = min(1.0, abs(share)) ** 0.5
    names = ["for" if share >= 0 else "against", *["deep"] * (strength > _DEEP), *[more] * bool(more)]
    return f'class="{" ".join(names)}" style="--s:{100 * strength:.0f}%"'


def _legend() -> str:
    return (
        '<p class="legend small"><span class="for">speaks for the answer</span> '
        '<span class="against">speaks against it</span> the deeper, the more; small ones are lifted</p>\n'
    )


def _kept(prediction: PredictionData) -> str:
    line = words.kept(prediction)
    return f'<p class="faint small">{escape(line)}</p>\n' if line else ""


def _passages(prediction: PredictionData) -> str:
    """What each passage contributes, where the prediction has some."""
    if "passages" not in known_spans(prediction):
        return ""
    ranked = _ranked(by(prediction, "passages"))
    rows = [_row(prediction, name, unit) for unit, name in ranked]
    return f"<h2>The passages</h2>\n{listed(('passage', *_NUMBERS), rows)}"


def _words_table(prediction: PredictionData) -> str:
    """The strongest words by size, and all others folded."""
    ranked = _ranked(words.units(prediction))
    rows = [_row(prediction, name, unit) for unit, name in ranked]
    called = words.units_called(prediction)
    head = (called, *_NUMBERS)
    shown, left = listed(head, rows[:_WORDS]), rows[_WORDS:]
    rest = words.number(sum(unit.relevance for unit, _ in ranked[_WORDS:]))
    folded = (
        f"<details><summary>{len(left)} more, {rest} together</summary>{listed(head, left)}</details>\n"
        if left
        else ""
    )
    return f"<h2>The {called}s, by size</h2>\n{_faint(words.SHARES)}{shown}{folded}"


def _ranked(every: Sequence[SpanRelevance]) -> list[tuple[SpanRelevance, str]]:
    """Those that move with what they are called, by size."""
    named = zip(every, words.called_apart(every), strict=True)
    return sorted((pair for pair in named if not pair[0].kept), key=lambda pair: -abs(pair[0].relevance))


def _row(prediction: PredictionData, name: str, unit: SpanRelevance) -> tuple[str, ...]:
    share = words.percent(unit.relevance / prediction.scale)
    return name, words.number(unit.relevance), share, f"{unit.error:.1g}"


def _faint(said: str) -> str:
    """A sentence in small letters."""
    return f'<p class="faint small">{escape(said[0].upper() + said[1:])}.</p>\n' if said else ""


# --- heads, MLPs and depths -----------------------------------------------------------------------


def _parts(prediction: PredictionData) -> str:
    """The strongest heads, MLPs and what else there is, a table each; the first says what a part is."""
    heads = words.strongest_heads(prediction, _PARTS)
    lacking = f"; {words.READS}" if any(head.source is None for head in heads) else ""
    return "".join(
        f"<h2>The {title}</h2>\n{_faint('' if number else words.PARTS + lacking)}"
        + listed((title.removeprefix("strongest "), "relevance", "share"), _rows(prediction, parts))
        for number, (title, parts) in enumerate(words.strongest(prediction, _PARTS))
    )


def _features(prediction: PredictionData) -> str:
    """Features of dictionaries, a table each."""
    every = prediction.stored_features
    return "".join(fragment_of_features(each, _PARTS, prediction.scale) for each in every)


def _rows(prediction: PredictionData, parts: Iterable[tuple[str, float]]) -> Iterator[tuple[str, str, str]]:
    for said, relevance in parts:
        yield said, words.number(relevance), words.percent(relevance / prediction.scale)


def _grids(prediction: PredictionData) -> str:
    """Depths by tokens and layers by heads."""
    depths, heads = by_depth(prediction), by_head(prediction)
    note = escape(depths.note)
    shown = (
        "<h2>From the answer down to the words</h2>\n"
        '<p class="faint small">Each row is a depth of the model, and sums to the whole change: the '
        f"answer is read at the top, and the words are at the bottom.{note}</p>\n{grid_table(depths)}"
    )
    if heads.rows:
        shown += (
            "<h2>Heads and MLPs by layer</h2>\n"
            '<p class="faint small">Each cell is what a head, or the MLP, contributes at all tokens '
            f"together.</p>\n{grid_table(heads)}"
        )
    return shown


def grid_table(grid: Grid) -> str:
    """A grid of coloured cells, its numbers as titles."""
    titles = "".join(f'<th scope="col"><span>{escape(name)}</span></th>' for name in grid.columns)
    lines = "".join(
        f'<tr><th scope="row">{escape(name)}</th>{"".join(_cells(grid, row, values))}</tr>\n'
        for row, (name, values) in enumerate(zip(grid.rows, grid.values, strict=True))
    )
    return (
        f'<div class="wide"><table class="grid"><thead><tr><th></th>{titles}</tr></thead>\n'
        f"<tbody>{lines}</tbody></table></div>\n"
    )


def _cells(grid: Grid, row: int, values: Tensor) -> Iterator[str]:
    for column, value in enumerate(values.tolist()):
        where = f"{grid.rows[row]}, {grid.columns[column]}"
        if isnan(value):
            yield f'<td class="none" title="{_attribute(f"{where}: {grid.missing}")}"></td>'
            continue
        said = f"{where}: {value:+.4g} ({words.percent(value / grid.scale)})"
        yield f'<td {_coloured(value / grid.most)} title="{_attribute(said)}"></td>'


def _certified(prediction: PredictionData) -> str:
    """What adds up, what is less exact than it should be, and what a number does not mean."""
    lines = (words.adds_up(prediction), *words.missed(prediction), words.CAVEAT)
    settings = prediction.meta.get("settings", {})
    parts = [
        f"{name} {settings[name]}" for name in ("cut", "attention", "experts", "tol") if name in settings
    ]
    about = ", ".join([f"model {prediction.meta.get('model')}", *parts])
    said = "".join(f"<p>{escape(line[0].upper() + line[1:])}.</p>\n" for line in lines)
    return f'<h2>How exact this is</h2>\n{said}<p class="faint small">{escape(printable(about))}</p>\n'


def _attribute(text: str) -> str:
    return escape(printable(text), quote=True)
