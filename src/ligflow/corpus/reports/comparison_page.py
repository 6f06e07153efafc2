"""A comparison of two models as files: words, tables and a figure."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from math import ceil, log2
from pathlib import Path

import numpy as np
import pandas
from matplotlib.figure import Figure

from ligflow.corpus.analysis.model_differences import LEVEL, Difference
from ligflow.corpus.analysis.word_changes import WordChange, strongest_of_heads
from ligflow.corpus.reports.files import LOOK, write_figure, write_table
from ligflow.corpus.reports.markdown import plain, table
from ligflow.files import write_text

_NAMED = 12  # that a list names; the tables have all
_EXPLAINED = (
    "Distances are half the summed difference of signed shares, from 0 (the same) to 1, as means over "
    "sentences with 95% intervals. A head stands out if it is over the limit, the margin times the median "
    "of its layer's other heads, in more sentences than chance would have (sign test, Holm over all heads, "
    f"{LEVEL})."
)

_WORDS = (
    "Each head in the sentence and at the word (its position behind it) where its rows are farthest from "
    "each other; numbers are changes of signed shares. Examples at the extreme, with no test; `words.csv` "
    "has one for each head and sentence."
)


def write(
    differences: Sequence[Difference],
    place: Path,
    title: str,
    about: str,
    words: Sequence[WordChange] = (),
) -> Path:
    """compare.md, differences and words (CSV and Parquet), and a figure in `place`; the page's path."""
    place.mkdir(parents=True, exist_ok=True)
    frame = pandas.DataFrame([{**asdict(row), "found": row.found} for row in differences])
    write_table(frame, place / "differences")
    if words:
        write_table(pandas.DataFrame([asdict(row) for row in words]), place / "words")
    write_figure(place / "compare", LOOK, drawn, differences)
    return write_text(place / "compare.md", page(differences, title, about, words))


def page(differences: Sequence[Difference], title: str, about: str, words: Sequence[WordChange] = ()) -> str:
    """What differs, in words and tables."""
    parts = [f"# {plain(title)}", f"{about} {_EXPLAINED}", verdict(differences)]
    if any(row.mean for row in differences):
        parts += ["## Layers", layer_table(differences), "## Heads", head_table(differences)]
        if words:
            parts += ["## What these heads read differently", _WORDS, word_table(differences, words)]
        parts += [
            "## How heads changed",
            change_table(differences),
            "![Distances by layer and head](compare.png)",
        ]
    return "\n\n".join(parts) + "\n"


def verdict(differences: Sequence[Difference]) -> str:
    """The finding in words."""
    if not any(row.mean for row in differences):
        return "**No difference at all**: every row of every map is the same."
    lines = [
        _size(differences),
        _heads(differences),
        _layers(differences),
        _changes(differences),
        *_too_few(differences),
    ]
    return "\n".join(f"- {line}" for line in lines)


def _too_few(differences: Sequence[Difference]) -> Iterator[str]:
    """Says for which tests there are so few sentences that nothing could be found."""
    for family, sides in {"route": 1, "layer": 1, "change": 2}.items():
        rows = [row for row in differences if row.family == family]
        needed = ceil(log2(sides * len(rows) / LEVEL))
        if rows[0].sentences < needed:
            yield (
                f"**Too few sentences** for the tests of `{family}`: {len(rows)} tests on "
                f"{rows[0].sentences} sentences can find nothing; it takes at least {needed}."
            )


def _size(differences: Sequence[Difference]) -> str:
    """How much heads differ at all, before what stands out is named."""
    sizes = sorted(row.mean for row in differences if row.family == "route")
    middle = _number(float(np.median(sizes)))
    return f"Distances of heads: {middle} at the median, from {_number(sizes[0])} to {_number(sizes[-1])}."


def _heads(differences: Sequence[Difference]) -> str:
    rows = [row for row in differences if row.family == "route"]
    out = _first(rows)
    if not out:
        return f"No head stands out from the others of its layer ({len(rows)} heads tested)."
    named = ", ".join(f"layer {row.layer} head {row.head} ({_number(row.mean)})" for row in out[:_NAMED])
    return (
        f"**{len(out)} of {len(rows)} heads stand out** from the others of their layer: {named}{_more(out)}."
    )


def _layers(differences: Sequence[Difference]) -> str:
    rows = [row for row in differences if row.family == "layer"]
    first = max(rows, key=lambda row: row.mean)
    said = f"The layers' own maps differ most in layer {first.layer} ({_number(first.mean)})"
    out = _first(rows)
    stands = ", ".join(str(row.layer) for row in out)
    return said + (f"; standing out from the other layers: {stands}." if out else "; no layer stands out.")


def _changes(differences: Sequence[Difference]) -> str:
    rows = [row for row in differences if row.family == "change"]
    out = _first(rows)
    if not out:
        return f"No measure of any head moves to one side ({len(rows)} tested)."
    named = ", ".join(
        f"layer {row.layer} head {row.head}, {row.measure} {row.mean:+.3f}" for row in out[:_NAMED]
    )
    return f"{len(out)} of {len(rows)} measures of heads move to one side; the largest: {named}{_more(out)}."


def _first(rows: Sequence[Difference]) -> list[Difference]:
    return sorted((row for row in rows if row.found), key=lambda row: -abs(row.mean))


def _more(rows: Sequence[Difference]) -> str:
    return f", and {len(rows) - _NAMED} more (`differences.csv`)" if len(rows) > _NAMED else ""


def layer_table(differences: Sequence[Difference]) -> str:
    """Each layer's distance, beside its limit."""
    rows = [row for row in differences if row.family == "layer"]
    body = [[str(row.layer), _interval(row), _number(row.others), _p(row)] for row in rows]
    return table(["layer", "distance of z2z", "limit", "adjusted p"], body)


def head_table(differences: Sequence[Difference]) -> str:
    """The heads with the largest distances, beside their limits."""
    body = [
        [str(row.layer), str(row.head), _interval(row), _number(row.others), _p(row)]
        for row in _farthest(differences)
    ]
    return table(["layer", "head", "distance of z2u", "limit", "adjusted p"], body)


def _farthest(differences: Sequence[Difference]) -> list[Difference]:
    moved = [row for row in differences if row.family == "route" and row.mean > 0]
    return sorted(moved, key=lambda row: -row.mean)[:_NAMED]


def word_table(differences: Sequence[Difference], words: Sequence[WordChange]) -> str:
    """The heads of `head_table`, each at the word that it reads most differently, and what it reads there."""
    heads = [(row.layer, row.head) for row in _farthest(differences)]
    body = [
        [
            str(row.layer), str(row.head), plain(row.place), _word(row.target, row.target_position),
            _number(row.distance), f"{_word(row.more, row.more_position)} {row.more_by:+.2f}",
            f"{_word(row.less, row.less_position)} {row.less_by:+.2f}",
        ]
        for row in strongest_of_heads(words, heads)
    ]  # fmt: skip
    columns = ["layer", "head", "sentence", "at the word", "distance", "B reads more of", "and less of"]
    return table(columns, body)


def _word(label: str, position: int) -> str:
    return f"‘{plain(label)}’ ({position})"


def change_table(differences: Sequence[Difference]) -> str:
    """The largest changes that stand after all tests."""
    out = _first([row for row in differences if row.family == "change"])[:_NAMED]
    if not out:
        return "None stands after all tests."
    body = [[str(row.layer), str(row.head), row.measure, _interval(row, sign=True), _p(row)] for row in out]
    return table(["layer", "head", "measure", "B less A", "adjusted p"], body)


def _number(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.3g}"


def _interval(row: Difference, sign: bool = False) -> str:
    mark = "+" if sign else ""
    inside = "" if np.isnan(row.low) else f" [{row.low:{mark}.3g}, {row.high:{mark}.3g}]"
    text = f"{row.mean:{mark}.3g}{inside}"
    return f"**{text}**" if row.found else text


def _p(row: Difference) -> str:
    return f"{row.adjusted:.2g}"


def drawn(differences: Sequence[Difference]) -> Figure:
    """Distances of all heads, and of the layers beside them; a dot marks what stands out."""
    heads, layers = ([row for row in differences if row.family == name] for name in ("route", "layer"))
    numbers = list(dict.fromkeys(row.layer for row in heads))
    grid = np.array([row.mean for row in heads]).reshape(len(numbers), -1)
    size = (2.6 + 0.32 * grid.shape[1], 1.3 + 0.28 * len(numbers))
    figure = Figure(figsize=size, layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[grid.shape[1], 4])
    image = left.imshow(grid, cmap="Blues", vmin=0, aspect="auto", interpolation="none")
    for row in heads:
        if row.found and row.head is not None:
            left.plot(row.head, numbers.index(row.layer), "o", color="#D55E00", markersize=4)
    left.set(xlabel="head", ylabel="layer", xticks=range(grid.shape[1]))
    left.set_yticks(range(len(numbers)), [str(number) for number in numbers])
    left.set_title("z2u, by head", fontsize=8)
    figure.colorbar(image, ax=left, label="distance", shrink=0.9)
    colours = ["#D55E00" if row.found else "#9ecae1" for row in layers]
    right.barh(range(len(layers)), [row.mean for row in layers], color=colours)
    right.set_title("z2z", fontsize=8)
    right.set_xlabel("distance")
    figure.supxlabel("orange: stands out from the others", fontsize=7)
    return figure
