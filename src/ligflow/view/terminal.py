"""A flow in the terminal: a heat table, the strongest flows in words, and the certificates."""

from collections.abc import Iterator

from jaxtyping import Float
from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.style import Style
from rich.table import Table
from rich.text import Text
from torch import Tensor

from ligflow.flow import Cell, Flow
from ligflow.view.colour import on, shade
from ligflow.view.select import printable, row_shares, select

_CELL = 5
_NEW = "made each token's new vector"
_MEANING = {
    "z2z": f"which tokens {_NEW}",
    "conserving": f"which tokens {_NEW}, through the heads",
    "product": f"which tokens {_NEW}, through the heads",
    "z2u": "which tokens made what a head puts out at each token",
    "u2z": f"which heads {_NEW}",
}


def report(flow: Flow, view: str, layer: int, head: int | None, console: Console) -> None:
    """Prints the heat table of one map, the strongest flows, and what is certified."""
    flow = flow.over_both()
    values, columns, title = select(flow, view, layer, head)
    console.print(Text(title, style="bold"))
    for table in _tables(flow, values, columns, console.width):
        console.print(table)
    console.print(Text(f"rows are targets, columns are sources: {_MEANING[view]}"))
    console.print(Text("per cent of the row's sum of magnitudes; blue +, orange -; a dot rounds to 0"))
    for line in strongest(flow, view, values, columns):
        console.print(Text(line))
    console.print(certificates(flow))


def _tables(flow: Flow, values: Tensor, columns: list[str], width: int) -> Iterator[Table]:
    """The map, cut into blocks of columns that fit; every column is shown."""
    labels = [f"{target} {printable(flow.tokens[target])}" for target in flow.targets]
    wide = min(max(map(cell_len, labels)) + 1, max(1, width - 1 - _CELL))
    room = max(1, (width - wide) // _CELL)
    shares = row_shares(values)
    for begin in range(0, len(columns), room):
        table = Table(box=None, padding=0, show_edge=False)
        table.add_column("", no_wrap=True, width=wide)
        for name in columns[begin : begin + room]:
            table.add_column(Text(name[: _CELL - 1]), width=_CELL, no_wrap=True, justify="right")
        for label, row in zip(labels, shares[:, begin : begin + room].tolist(), strict=True):
            table.add_row(Text(label + " "), *(_cell(share) for share in row))
        yield table


def _cell(share: float) -> Text:
    background = shade(share)
    style = Style(bgcolor=background, color=on(background))
    return Text(f"{100 * share:4.0f} " if round(100 * share) else "   . ", style=style)


def strongest(
    flow: Flow, view: str, values: Float[Tensor, "target column"], columns: list[str], count: int = 5
) -> list[str]:
    """The largest cells in words, those of a token to itself left out."""
    ranked = values.abs().clone()
    if view != "u2z":
        ranked[list(range(len(flow.targets))), list(flow.targets)] = 0
    shares, lines = row_shares(values), []
    for flat in ranked.flatten().topk(min(count, ranked.numel())).indices.tolist():
        row, column = divmod(flat, values.shape[1])
        place, value = flow.targets[row], float(values[row, column])
        target = f"{printable(flow.tokens[place])!r} ({place})"
        source = columns[column] if view == "u2z" else f"{columns[column]!r} ({column})"
        if value == 0:
            continue
        verb = "adds to" if value > 0 else "takes from"
        amount = f"{value:+.3g}, {float(shares[row, column]):+.0%} of its row"
        lines.append(f"  {source} {verb} {target}: {amount}")
    return lines


def certificates(flow: Flow) -> RenderableType:
    """Per route: cells, the worst certificate and estimate, path points, and what misses the tolerance."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in (
        "route",
        "totals",
        "worst |certificate|",
        "worst estimate",
        "mean nodes",
        "max origin mass",
        "unmet",
    ):
        table.add_column(name, justify="left" if name == "route" else "right")
    unmet = flow.unmet
    for route in flow.routes:
        table.add_row(
            route,
            str(flow.total(route).numel()),
            f"{float(flow.certificate(route).abs().max()):.1e}",
            f"{float(flow.estimated_error(route).max()):.1e}",
            f"{float(flow.nodes(route).float().mean()):.1f}",
            f"{float(flow.origin_mass(route).max()):.2g}",
            str(sum(cell.route == route for cell in unmet)),
        )
    lines = [Text(f"note: {note}") for note in flow.meta.get("notes", [])]
    lines += [Text(_describe(cell)) for cell in unmet[:10]]
    if len(unmet) > 10:
        lines.append(Text(f"unmet: {len(unmet) - 10} more, all in flow.unmet"))
    return Group(Text(f"certificates: {_verdict(flow)}"), table, *lines)


def _verdict(flow: Flow) -> str:
    tol, missed = flow.meta.get("settings", {}).get("tol"), len(flow.unmet)
    count = sum(flow.total(route).numel() for route in flow.routes)
    within = "" if tol is None else f" {tol:g}"
    if missed:
        return f"{missed} of {count} rows miss the tolerance{within}"
    return f"all {count} rows sum to how far their target moved, within{within or ' the tolerance'}"


def _describe(cell: Cell) -> str:
    head = "" if cell.head is None else f"head {cell.head} "
    place = f"{cell.route} layer {cell.layer} {head}target {cell.target} ({printable(cell.token)})"
    return f"unmet: {place}: certificate {cell.certificate:.1e}, estimate {cell.estimated_error:.1e}"


def error(message: str) -> str:
    """A message as rich markup, with its own brackets kept."""
    shown = "\n".join(map(printable, message.split("\n")))
    return f"[bold red]error[/]: {escape(shown)}"
