"""Features of a dictionary on the screen and on a page: the strongest, what they sum to, and the rest."""

from collections.abc import Iterator, Sequence
from html import escape

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ligflow.inputs.labels import printable
from ligflow.results.features import FeatureAtToken, Features, nodes
from ligflow.view.listed import listed
from ligflow.view.prediction_words import number, percent, shown

_HEAD = ("feature", "relevance", "share", "activation", "with the reference")
_CALLED = {
    "bias": "the decoder's bias, times what changes of a token's scale",
    "skip": "what goes past the features",
    "others": "features that are not listed",
    "rest": "what the dictionary does not explain",
}
ROWS = 8


def title(features: Features) -> str:
    """The dictionary and its place, in words."""
    return printable(f"features of {features.dictionary} at {features.hook}")


def said(features: Features, count: int) -> Iterator[str]:
    """What all features contribute beside the rest, and how much is left out of the list."""
    entries = len(features.relevance)
    own = float(features.relevance.sum() + features.others.sum())
    yield (
        f"what stands at {printable(features.hook)} contributes {number(float(features.total.sum()))}, "
        f"{number(own)} of it through {features.count} features"
    )
    for name, value in nodes(features):
        if name != "others":
            yield f"{_CALLED[name]}: {number(value)}"
    yield f"unexplained: {percent(features.unexplained)} of all that speaks for and against here"
    left = float(features.relevance.sum()) - sum(row.relevance for row in features.rows()[:count])
    left += float(features.others.sum())
    if entries > count or features.others.any():
        yield f"what is not listed of features: {number(left)} together"


def rows(features: Features, count: int, scale: float) -> list[tuple[str, ...]]:
    """The strongest features, each with the columns that are shown."""
    return [_row(row, scale) for row in features.rows()[:count]]


def called(row: FeatureAtToken) -> str:
    """What a feature is called: `feature 197`, `days (197)` where it has a name."""
    return f"{shown(row.name)} ({row.feature})" if row.name else f"feature {row.feature}"


def _row(row: FeatureAtToken, scale: float) -> tuple[str, ...]:
    activations = (f"{value:.3g}" for value in (row.activation, row.reference_activation))
    where = f"{called(row)} at ‘{shown(row.token)}’ ({row.position})"
    return where, number(row.relevance), percent(row.relevance / scale), *activations


def report(features: Features, console: Console, count: int = ROWS, scale: float | None = None) -> None:
    """Prints the strongest features, then what stands beside them. Shares are of `scale`."""
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False, header_style="bold")
    table.add_column(_HEAD[0], overflow="fold")
    for name in _HEAD[1:]:
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows(features, count, scale or _scale(features)):
        table.add_row(*(Text(cell) for cell in row))
    console.print(Text(title(features), style="bold"))
    console.print(table)
    for line in said(features, count):
        console.print(Text(line))


def fragment(features: Features, count: int = 20, scale: float | None = None) -> str:
    """The same as HTML, with links; all text is escaped."""
    table = listed(_HEAD, rows(features, count, scale or _scale(features)))
    links = _links(features.rows()[:count])
    lines = "".join(f"<p>{escape(line[0].upper() + line[1:])}.</p>\n" for line in said(features, count))
    head = title(features)
    return f"<h2>{escape(head[0].upper() + head[1:])}</h2>\n{table}{links}{lines}"


def _links(strongest: Sequence[FeatureAtToken]) -> str:
    """Links of the features that have some, under the table."""
    links = {called(row): row.url for row in strongest if row.url.startswith(("https://", "http://"))}
    shown_links = (
        f'<a href="{escape(printable(url), quote=True)}" rel="noreferrer">{escape(name)}</a>'
        for name, url in links.items()
    )
    return f'<p class="small">{", ".join(shown_links)}</p>\n' if links else ""


def _scale(features: Features) -> float:
    """All that speaks for and against at the hook point."""
    beside = sum(float(getattr(features, name).abs().sum()) for name in _CALLED)
    return float(features.relevance.abs().sum()) + beside or 1.0
