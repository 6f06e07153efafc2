"""A flow in the terminal: what it shows first in words, a heat table that fits, and what is certified."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.style import Style
from rich.table import Table
from rich.text import Text
from torch import Tensor

from ligflow import names
from ligflow.inputs.labels import printable, told_apart
from ligflow.results.attention_weights import is_attention
from ligflow.results.flow_data import FlowData
from ligflow.results.grouping import merge_words
from ligflow.results.joint_sources import over_both
from ligflow.view.colour import on, shade
from ligflow.view.completeness import certified, details_of
from ligflow.view.heads_by_part import heads_by_part
from ligflow.view.heads_by_way import heads_by_way
from ligflow.view.highlights import (
    Highlights,
    heads_of_words,
    held,
    highlights,
    is_causal,
    is_punctuation,
    named,
    rankable,
    sentences,
    stands_aside,
    without,
)
from ligflow.view.measure_words import whole_row
from ligflow.view.select import columns, every_layer

_LETTERS = 4  # of a column's name, at least
_LINES = 40  # of a table, where there is no window to fit into
_STRONGEST, _OF_MANY = 5, 10  # flows that are named below a table, and instead of one


@dataclass(frozen=True, eq=False)
class _Shown:
    """One map of one layer: `values` [row, column] of the printed rows, with the columns that are printed."""

    flow: FlowData
    opening: Highlights
    layer: int
    rows: list[int]  # tokens
    columns: list[int]
    values: Float[Tensor, "row column"]
    shares: Float[Tensor, "row column"]
    causal: bool


def report(
    flow: FlowData,
    console: Console,
    *,
    words: bool = False,
    view: str | None = None,
    layer: int | None = None,
    head: int | None = None,
    special: bool = False,
    targets_only: bool = False,
    full: bool = False,
    details: bool = False,
    parts: bool = False,
    split: bool = False,
) -> None:
    """Prints what the flow shows first in words, one map, its strongest flows, and what is certified.

    By default the map, the layer and the sources that stand aside are those of `highlights`; with `special`
    none stands aside, with `words` subwords are merged, with `targets_only` special tokens have no row
    either. A map that does not fit in the window is printed with `full` alone; without it a line a layer and
    the strongest flows stand for it. With `parts` a table says of the strongest heads how they came to
    move the target, with `split` one by which ways the layer moved it; the flow must have those, and words
    none.
    """
    tokens = over_both(flow)
    flow = over_both(merge_words(flow)) if words else tokens
    opening = highlights(flow, view, head, every=special)
    if targets_only and flow.special[opening.target]:
        left = [target for target in flow.targets if not flow.special[target]]
        opening = highlights(flow, view, head, left[-1], every=special)
    opening = heads_of_words(opening, tokens) if words else opening
    shown = _shown(flow, opening, opening.layer if layer is None else layer, targets_only)
    if flow.meta.get("model"):
        console.print(Text(f"{printable(str(flow.meta['model']))}, inside its layers:"))
    for line in sentences(flow, opening):
        console.print(Text(line))
    if opening.findings:
        console.print()
    if full or _fits(shown, console):
        _print_map(shown, console)
    else:
        _print_summary(shown, console)
    if parts:
        console.print(heads_by_part(flow, shown.layer, opening.target))
    if split:
        console.print(heads_by_way(flow, shown.layer, opening.target))
    for note in flow.meta.get("notes", []):
        console.print(Text(f"note: {note}"))
    console.print(details_of(flow) if details else certified(flow))


def _shown(flow: FlowData, opening: Highlights, layer: int, targets_only: bool) -> _Shown:
    maps = every_layer(flow, opening.view, opening.head)
    values = maps[flow.row(layer)]
    kept = [row for row, target in enumerate(flow.targets) if not (targets_only and flow.special[target])]
    places = [place for place in range(values.shape[1]) if place not in opening.hidden]
    rows = [flow.targets[row] for row in kept]
    causal = opening.view != "u2z" and is_causal(flow, maps)
    return _Shown(
        flow, opening, layer, rows, places, values[kept], without(values[kept], opening.hidden), causal
    )


# --- the map --------------------------------------------------------------------------------------


def _fits(shown: _Shown, console: Console) -> bool:
    """Whether the table, in as many parts as the width asks for, is no longer than the window."""
    room = max(1, (console.width - _wide(shown, console.width)) // (_LETTERS + 1))
    parts = -(-len(shown.columns) // room)
    return parts * (len(shown.rows) + 1) <= (console.height if console.is_terminal else _LINES)


def _print_map(shown: _Shown, console: Console) -> None:
    console.print(Text(_title(shown), style="bold"))
    for table in _tables(shown, console.width):
        console.print(table)
    cells = "cells are % of " + whole_row(shown.flow, "the row's token")
    console.print(Text(f"rows are targets, columns {_sources(shown)}; {cells}"))
    console.print(Text("blue +, orange - (holds back); a dot rounds to 0"))
    heading = [f"the strongest; {_unit(shown)}"] if shown.values.any() else []
    for line in (*_hidden(shown), *_measures(shown), *heading, *strongest(shown)):
        console.print(Text(line))


def _title(shown: _Shown) -> str:
    return f"Layer {shown.layer}: {names.title(shown.opening.view, shown.opening.head)}"


def _sources(shown: _Shown) -> str:
    return "heads (res: the residual)" if shown.opening.view == "u2z" else "sources"


def _tables(shown: _Shown, width: int) -> Iterator[Table]:
    """The map in blocks of columns that fit; every column is shown, with as much of its name as fits."""
    every, names = columns(shown.flow, shown.opening.view), told_apart(shown.flow.tokens)
    wide = _wide(shown, width)
    letters = _letters([cell_len(every[place]) for place in shown.columns], width - wide)
    cells = [min(letters, max(_LETTERS, cell_len(every[place]))) + 1 for place in shown.columns]
    for block in _blocks(cells, width - wide):
        table = Table(box=None, padding=0, show_edge=False)
        table.add_column("", no_wrap=True, width=wide)
        for at in block:
            name = every[shown.columns[at]]
            name = set_cell_size(name, min(cells[at] - 1, cell_len(name)))
            table.add_column(Text(name), width=cells[at], no_wrap=True, justify="right")
        for token, row in zip(shown.rows, shown.shares.tolist(), strict=True):
            label = Text(f"{token} {names[token]} ")
            last = token if shown.causal else len(row)
            table.add_row(label, *(_cell(row, shown.columns[at], last, cells[at]) for at in block))
        yield table


def _wide(shown: _Shown, width: int) -> int:
    """How wide the names of the rows are."""
    names = told_apart(shown.flow.tokens)
    most = max(cell_len(f"{token} {names[token]} ") for token in shown.rows)
    return min(most, max(1, width - 1 - (_LETTERS + 1)))


def _letters(lengths: Sequence[int], room: int) -> int:
    """How many letters of the names fit, four if not even those do."""
    for letters in range(max(lengths, default=_LETTERS), _LETTERS, -1):
        if sum(min(letters, max(_LETTERS, length)) + 1 for length in lengths) <= room:
            return letters
    return _LETTERS


def _blocks(cells: Sequence[int], room: int) -> Iterator[list[int]]:
    """Columns side by side as far as they fit, one at least."""
    block: list[int] = []
    for at, wide in enumerate(cells):
        if block and sum(cells[column] for column in block) + wide > room:
            yield block
            block = []
        block.append(at)
    if block:
        yield block


def _cell(row: Sequence[float], column: int, last: int, wide: int) -> Text:
    """A share in per cent; nothing where a causal map has no cell."""
    if column > last:
        return Text("")
    share = row[column]
    background = shade(share)
    style = Style(bgcolor=background, color=on(background))
    number = f"{100 * share:.0f}" if round(100 * share) else "."
    return Text(f"{number:>{wide - 1}} ", style=style)


def _print_summary(shown: _Shown, console: Console) -> None:
    """What stands for a map that does not fit: a line a layer about one target, and the strongest flows."""
    flow, opening = shown.flow, shown.opening
    size = f"{len(shown.rows)} x {len(shown.columns)}"
    console.print(Text(f"{whole_row(flow, named(flow, opening.target))}, layer by layer", style="bold"))
    for line in _by_layer(shown):
        console.print(Text(line, no_wrap=True, overflow="ellipsis"))
    console.print(Text(f"the strongest of layer {shown.layer}; {_unit(shown)}", style="bold"))
    for line in strongest(shown, _OF_MANY):
        console.print(Text(line))
    for line in (*_hidden(shown), *_measures(shown)):
        console.print(Text(line))
    console.print(
        Text(f"the map of layer {shown.layer} has {size} cells, too many for here: --full prints them")
    )


def _by_layer(shown: _Shown, count: int = 3) -> Iterator[str]:
    """What moves the first target most in every layer, of what the sentences may name."""
    flow, opening = shown.flow, shown.opening
    rows = every_layer(flow, opening.view, opening.head)[:, flow.targets.index(opening.target)]
    ranked = rankable(flow, opening.view, opening.target, opening.hidden)
    for layer, row in zip(flow.layers, without(rows, opening.hidden), strict=True):
        most = sorted(((abs(float(row[place])), -place) for place in ranked), reverse=True)[:count]
        moved = (f"{_source(shown, -at)} {100 * float(row[-at]):.0f}%" for size, at in most if size)
        yield f"  layer {layer:2}: {', '.join(moved) or 'did not move'}"


def _source(shown: _Shown, column: int) -> str:
    return f"head {column}" if shown.opening.view == "u2z" else named(shown.flow, column)


def _hidden(shown: _Shown) -> Iterator[str]:
    """What stands aside, and what it holds of the row that the sentences are about."""
    opening = shown.opening
    if not opening.hidden:
        return
    aside, verb = stands_aside(shown.flow, opening), "hold" if len(opening.hidden) > 1 else "holds"
    part = ""
    if opening.target in shown.rows:
        whole = held(shown.values[shown.rows.index(opening.target)], opening.hidden)
        row = whole_row(shown.flow, named(shown.flow, opening.target))
        part = f", which {verb} {100 * whole:.0f}% of {row} here"
    yield f"hidden: {aside}{part} (--special)"


def _measures(shown: _Shown) -> Iterator[str]:
    """What percentages are parts of, where that is not all, and the unit of other values."""
    parts = ["percentages are of the sources shown"] if shown.opening.hidden else []
    lengths = shown.opening.view != "product" and _scalarization(shown) in names.SCALARIZATIONS.values()
    lengths = lengths and not is_attention(shown.flow)
    parts += ["values are lengths of the model’s vectors"] if lengths else []
    if parts:
        yield "; ".join(parts)


# --- in words -------------------------------------------------------------------------------------


def strongest(shown: _Shown, count: int = _STRONGEST) -> Iterator[str]:
    """The largest cells of the layer in words, without special tokens, sinks, punctuation and own cells."""
    flow, view = shown.flow, shown.opening.view
    aside = {*shown.opening.hidden}
    size = torch.zeros_like(shown.values)
    for row, target in enumerate(shown.rows):
        if target not in aside and not is_punctuation(flow.tokens[target]):
            ranked = rankable(flow, view, target, aside)
            size[row, ranked] = shown.values[row, ranked].abs()
    for flat in size.flatten().topk(min(count, size.numel())).indices.tolist():
        row, column = divmod(flat, size.shape[1])
        if float(size[row, column]):
            yield _in_words(shown, row, column)
    marks = sum(is_punctuation(token) for place, token in enumerate(flow.tokens) if place not in aside)
    left = [stands_aside(flow, shown.opening)] * bool(aside) + [f"{marks} of punctuation"] * bool(marks)
    if left:
        yield f"  (not ranked: {', '.join(left)})"


def _unit(shown: _Shown) -> str:
    """What the values of cells are."""
    if is_attention(shown.flow):
        return "attention weights, no contributions"
    if shown.opening.view == "product":
        return "products of what heads read and write"
    along = "" if _scalarization(shown) in names.SCALARIZATIONS.values() else f" by {_scalarization(shown)}"
    whose = "a head’s" if shown.opening.view == "z2u" else "the layer’s"
    return f"a row sums to how far {whose} output moved{along}"


def _scalarization(shown: _Shown) -> str:
    """How a target's movement became a number; that of the writing heads where a map goes through heads."""
    route = shown.opening.view if shown.opening.view in ("z2u", "z2z") else "u2z"
    return str(shown.flow.meta.get("settings", {}).get("scalarization", {}).get(route, "l2"))


def _in_words(shown: _Shown, row: int, column: int) -> str:
    value, share = float(shown.values[row, column]), float(shown.shares[row, column])
    target, source = named(shown.flow, shown.rows[row]), _source(shown, column)
    if shown.opening.view == "u2z":
        words = f"{source} {'writes' if value > 0 else 'takes from'} {target}"
    else:
        words = f"{source} reaches {target}" if value > 0 else f"{source} holds {target} back"
    return f"  {words}: {value:+.3g}, {100 * share:.0f}% of {whole_row(shown.flow)}"
