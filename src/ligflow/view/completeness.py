"""What is certified of a flow, in one line or in detail: sums that are known, and how far maps miss them."""

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ligflow.inputs.labels import printable
from ligflow.names import ROUTE_TITLES
from ligflow.results.attention_weights import is_attention
from ligflow.results.cells import Cell
from ligflow.results.flow_data import FlowData

ATTENTION = "attention weights, not contributions: nothing is certified of them"
KNOWN = "  (the sums are known from two plain runs; errors of single cells are estimated)"
_NAMED = 10  # rows that have not converged and are named one by one
_AT_START = 0.01  # of a row that happens at the very start of the path, from which it is said


def certified(flow: FlowData) -> RenderableType:
    """One line and what it rests on, and one more where much happens at the very start of a path."""
    if is_attention(flow):
        return Text(ATTENTION)
    lines = [f"{verdict(flow)}; --details names them"] if flow.unmet else [verdict(flow), KNOWN]
    return Group(*map(Text, [*lines, *_starts(flow)]))


def details_of(flow: FlowData) -> RenderableType:
    """For every map its rows, errors and steps, and the rows that have not converged."""
    table = Table(box=None, padding=(0, 1, 0, 0))
    columns = ("map", "rows", "completeness error", "estimate", "steps", "at start", "not converged")
    for name in columns:
        table.add_column(name, justify="left" if name == "map" else "right")
    unmet = flow.unmet
    for route in flow.routes:
        table.add_row(
            ROUTE_TITLES.get(route, route),
            str(flow.total(route).numel()),
            f"{float(flow.certificate(route).abs().max()):.1e}",
            f"{float(flow.estimated_error(route).max()):.1e}",
            f"{float(flow.nodes(route).float().mean()):.1f}",
            f"{float(flow.origin_mass(route).max()):.2g}",
            str(sum(cell.route == route for cell in unmet)),
        )
    lines = [_describe(cell) for cell in unmet[:_NAMED]]
    if len(unmet) > _NAMED:
        lines.append(f"not converged: {len(unmet) - _NAMED} more, all in flow.unmet")
    return Group(Text(verdict(flow)), table, *map(Text, [*lines, *_starts(flow)]))


def verdict(flow: FlowData) -> str:
    """Whether all rows of a flow sum to what is known of them."""
    if is_attention(flow):
        return ATTENTION
    tol, missed = flow.meta.get("settings", {}).get("tol"), len(flow.unmet)
    count = sum(flow.total(route).numel() for route in flow.routes)
    tolerance = "the tolerance" if tol is None else f"{100 * tol:g}%"
    if missed:
        return f"not converged: {missed} of {count} rows may be off by more than {tolerance}"
    return f"✓ certified: all {count} rows sum to how far their target moved, within {tolerance}"


def _starts(flow: FlowData) -> Iterator[str]:
    most = max(float(flow.origin_mass(route).max()) for route in flow.routes)
    if most > _AT_START:
        yield f"up to {100 * most:.0f}% of a row happened at the very start of the path"


def _describe(cell: Cell) -> str:
    head = "" if cell.head is None else f"head {cell.head} "
    where = f"{ROUTE_TITLES.get(cell.route, cell.route)}, layer {cell.layer} {head}target {cell.target}"
    errors = f"completeness error {cell.certificate:.1e}, estimate {cell.estimated_error:.1e}"
    return f"not converged: {where} ({printable(cell.token)}): {errors}"
