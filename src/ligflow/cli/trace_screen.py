"""What is printed of a trace: a row a depth, what rounds it, and the strongest paths."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from ligflow.cli.streams import console
from ligflow.inputs.labels import trimmed
from ligflow.view.colour import on, shade

if TYPE_CHECKING:
    from torch import Tensor

    from ligflow.flow import Flow
    from ligflow.results.strongest_paths import TokenPath
    from ligflow.results.tracing import Trace


_SHOWN = 12  # tokens that a depth of the table names; the CSV has all
_CARRIERS = 3  # heads that are named of a step


def show(followed: Trace, which: str, strongest: list[TokenPath], top: Flow | None) -> None:
    """Prints a trace; `top` is the first step where it asks for a direction."""
    label = trimmed(followed.tokens[followed.token])
    through = ", through the heads" if which == "composed" else ""
    console().print(
        Text(f"‘{label}’ ({followed.token}) after layer {followed.layers[0]}{through}"), style="bold"
    )
    if top is not None:
        console().print(Text(_moved(top, "u2z" if which == "composed" else "z2z")))
    console().print(_table(followed))
    if followed.heads is not None:
        console().print(_carriers(followed, followed.heads))
    missed = f"; {followed.unmet} integrals have not converged" if followed.unmet else ""
    missed += f"; {_still(followed.still)}" if followed.still else ""
    sums = f"shares sum to 1 at every depth, within {followed.drift:.0e}"
    if followed.amount is not None:
        sums = f"it moved by {followed.amount:.3g} from where its start was carried; {sums}"
    left = f"estimated error of the input's shares, added up: {float(followed.errors[-1]):.0e}"
    console().print(Text(f"{sums}; {left}{missed}"))
    for path in strongest:
        console().print(
            Text(f"{100 * path.weight:6.2f}%  {' ← '.join(_steps(followed, path))}"), soft_wrap=True
        )


def _still(count: int) -> str:
    """Rows of maps that have nothing to share out."""
    return (
        "1 token did not move and keeps its share"
        if count == 1
        else f"{count} tokens did not move and keep their share"
    )


def _steps(followed: Trace, path: TokenPath) -> Iterator[str]:
    """The tokens of a path, one that stays where it is once: `is (×13)`."""
    for node, stays in groupby(path.nodes):
        count = len(list(stays))
        yield trimmed(followed.tokens[node]) + (f" (×{count})" if count > 1 else "")


def _moved(top: Flow, route: str) -> str:
    """What the first step shares out: a positive share has the sign of this number."""
    total = float(top.total(route)[0, 0])
    word = trimmed(str(top.meta["towards"]))
    return (
        f"towards ‘{word}’: from the baseline the layer moves it by {total:+.3g}, which the first step "
        f"shares; this is not a logit: why the model says ‘{word}’ is told by ligflow why --answer"
    )


def _carriers(followed: Trace, heads: Tensor) -> Table:
    """The heads that hand down most on each step, in per cent, and what passes attention."""
    table = Table(box=None, padding=(0, 1, 0, 0), show_header=False)
    for layer, (*by_head, past) in zip(followed.layers, heads.tolist(), strict=True):
        order = sorted(range(len(by_head)), key=lambda head: -abs(by_head[head]))
        strongest = ", ".join(f"{head} {round(100 * by_head[head])}%" for head in order[:_CARRIERS])
        table.add_row(f"layer {layer}", Text(f"heads {strongest}; past attention {round(100 * past)}%"))
    return table


def _table(followed: Trace) -> Table:
    """A row a depth: the tokens with the most relevance, in per cent."""
    table = Table(box=None, padding=(0, 1, 0, 0), show_header=False)
    for depth, row in enumerate(followed.relevance):
        name = f"after layer {followed.layers[depth]}" if depth < len(followed.layers) else "input"
        order = row.abs().argsort(descending=True)[:_SHOWN].tolist()
        shown = Text()
        for token in order:
            if abs(float(row[token])) < 0.005:
                break
            share = float(row[token])
            ink = shade(share)
            shown.append(
                f" {trimmed(followed.tokens[token])} {100 * share:.0f} ", style=f"{on(ink)} on {ink}"
            )
        table.add_row(name, shown)
    return table
