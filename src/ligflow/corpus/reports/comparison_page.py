"""A comparison of two models as files: words, tables and a figure."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from math import ceil, log2
from pathlib import Path

import numpy as np
import pandas
from matplotlib.figure import Figure

from ligflow.corpus.analysis.model_differences import LEVEL, Difference
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


def write(found: Sequence[Difference], place: Path, title: str, about: str) -> Path:
    """compare.md, differences.csv and .parquet, and a figure (SVG and PNG) in `place`; the page's path."""
    place.mkdir(parents=True, exist_ok=True)
    frame = pandas.DataFrame([{**asdict(one), "found": one.found} for one in found])
    write_table(frame, place / "differences")
    write_figure(place / "compare", LOOK, drawn, found)
    return write_text(place / "compare.md", page(found, title, about))


def page(found: Sequence[Difference], title: str, about: str) -> str:
    """What differs, in words and tables."""
    parts = [f"# {plain(title)}", f"{about} {_EXPLAINED}", verdict(found)]
    if any(one.mean for one in found):
        parts += ["## Layers", layer_table(found), "## Heads", head_table(found)]
        parts += ["## How heads changed", change_table(found), "![Distances by layer and head](compare.png)"]
    return "\n\n".join(parts) + "\n"


def verdict(found: Sequence[Difference]) -> str:
    """The finding in words."""
    if not any(one.mean for one in found):
        return "**No difference at all**: every row of every map is the same."
    lines = [_size(found), _heads(found), _layers(found), _changes(found), *_too_few(found)]
    return "\n".join(f"- {line}" for line in lines)


def _too_few(found: Sequence[Difference]) -> Iterator[str]:
    """Says for which tests there are so few sentences that nothing could be found."""
    for family, sides in {"route": 1, "layer": 1, "change": 2}.items():
        rows = [one for one in found if one.family == family]
        needed = ceil(log2(sides * len(rows) / LEVEL))
        if rows[0].sentences < needed:
            yield (
                f"**Too few sentences** for the tests of `{family}`: {len(rows)} tests on "
                f"{rows[0].sentences} sentences can find nothing; it takes at least {needed}."
            )


def _size(found: Sequence[Difference]) -> str:
    """How much heads differ at all, before what stands out is named."""
    sizes = sorted(one.mean for one in found if one.family == "route")
    middle = _number(float(np.median(sizes)))
    return f"Distances of heads: {middle} at the median, from {_number(sizes[0])} to {_number(sizes[-1])}."


def _heads(found: Sequence[Difference]) -> str:
    rows = [one for one in found if one.family == "route"]
    out = _first(rows)
    if not out:
        return f"No head stands out from the others of its layer ({len(rows)} heads tested)."
    named = ", ".join(f"layer {one.layer} head {one.head} ({_number(one.mean)})" for one in out[:_NAMED])
    return (
        f"**{len(out)} of {len(rows)} heads stand out** from the others of their layer: {named}{_more(out)}."
    )


def _layers(found: Sequence[Difference]) -> str:
    rows = [one for one in found if one.family == "layer"]
    first = max(rows, key=lambda one: one.mean)
    said = f"The layers' own maps differ most in layer {first.layer} ({_number(first.mean)})"
    out = _first(rows)
    stands = ", ".join(str(one.layer) for one in out)
    return said + (f"; standing out from the other layers: {stands}." if out else "; no layer stands out.")


def _changes(found: Sequence[Difference]) -> str:
    rows = [one for one in found if one.family == "change"]
    out = _first(rows)
    if not out:
        return f"No measure of any head moves to one side ({len(rows)} tested)."
    named = ", ".join(
        f"layer {one.layer} head {one.head}, {one.measure} {one.mean:+.3f}" for one in out[:_NAMED]
    )
    return f"{len(out)} of {len(rows)} measures of heads move to one side; the largest: {named}{_more(out)}."


def _first(rows: Sequence[Difference]) -> list[Difference]:
    return sorted((one for one in rows if one.found), key=lambda one: -abs(one.mean))


def _more(rows: Sequence[Difference]) -> str:
    return f", and {len(rows) - _NAMED} more (`differences.csv`)" if len(rows) > _NAMED else ""


def layer_table(found: Sequence[Difference]) -> str:
    """Each layer's distance, beside its limit."""
    rows = [one for one in found if one.family == "layer"]
    body = [[str(one.layer), _interval(one), _number(one.others), _p(one)] for one in rows]
    return table(["layer", "distance of z2z", "limit", "adjusted p"], body)


def head_table(found: Sequence[Difference]) -> str:
    """The heads with the largest distances, beside their limits."""
    moved = [one for one in found if one.family == "route" and one.mean > 0]
    rows = sorted(moved, key=lambda one: -one.mean)[:_NAMED]
    body = [[str(one.layer), str(one.head), _interval(one), _number(one.others), _p(one)] for one in rows]
    return table(["layer", "head", "distance of z2u", "limit", "adjusted p"], body)


def change_table(found: Sequence[Difference]) -> str:
    """The largest changes that stand after all tests."""
    out = _first([one for one in found if one.family == "change"])[:_NAMED]
    if not out:
        return "None stands after all tests."
    body = [[str(one.layer), str(one.head), one.measure, _interval(one, sign=True), _p(one)] for one in out]
    return table(["layer", "head", "measure", "B less A", "adjusted p"], body)


def _number(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.3g}"


def _interval(one: Difference, sign: bool = False) -> str:
    mark = "+" if sign else ""
    inside = "" if np.isnan(one.low) else f" [{one.low:{mark}.3g}, {one.high:{mark}.3g}]"
    text = f"{one.mean:{mark}.3g}{inside}"
    return f"**{text}**" if one.found else text


def _p(one: Difference) -> str:
    return f"{one.adjusted:.2g}"


def drawn(found: Sequence[Difference]) -> Figure:
    """Distances of all heads, and of the layers beside them; a dot marks what stands out."""
    heads, layers = ([one for one in found if one.family == name] for name in ("route", "layer"))
    numbers = list(dict.fromkeys(one.layer for one in heads))
    grid = np.array([one.mean for one in heads]).reshape(len(numbers), -1)
    size = (2.6 + 0.32 * grid.shape[1], 1.3 + 0.28 * len(numbers))
    figure = Figure(figsize=size, layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[grid.shape[1], 4])
    image = left.imshow(grid, cmap="Blues", vmin=0, aspect="auto", interpolation="none")
    for one in heads:
        if one.found and one.head is not None:
            left.plot(one.head, numbers.index(one.layer), "o", color="#D55E00", markersize=4)
    left.set(xlabel="head", ylabel="layer", xticks=range(grid.shape[1]))
    left.set_yticks(range(len(numbers)), [str(number) for number in numbers])
    left.set_title("z2u, by head", fontsize=8)
    figure.colorbar(image, ax=left, label="distance", shrink=0.9)
    colours = ["#D55E00" if one.found else "#9ecae1" for one in layers]
    right.barh(range(len(layers)), [one.mean for one in layers], color=colours)
    right.set_title("z2z", fontsize=8)
    right.set_xlabel("distance")
    figure.supxlabel("orange: stands out from the others", fontsize=7)
    return figure
