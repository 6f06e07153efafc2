"""`ligflow check`: the conformance checks on a model."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from ligflow.cli.options import (
    METHOD,
    Device,
    Dtype,
    LocalOnly,
    Revision,
    Stack,
    TrustCode,
    explainer_of,
    option,
)
from ligflow.cli.streams import console
from ligflow.names import TOL

if TYPE_CHECKING:
    from ligflow.evaluation.conformance import Check


def check_model(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Hub id, folder, embedded model or MODEL+ADAPTER.")
    ],
    revision: Revision = None,
    device: Device = None,
    dtype: Dtype = "float32",
    local_files_only: LocalOnly = False,
    trust_remote_code: TrustCode = False,
    stack: Stack = None,
    tol: Annotated[float, option("Tolerance of the certificates.", METHOD)] = TOL,
) -> None:
    """Run the conformance checks on a model; exit code 1 if one fails."""
    explainer = explainer_of(
        model, revision, device, dtype, local_files_only, stack=stack, trust_remote_code=trust_remote_code
    )
    from ligflow.evaluation.conformance import check

    checks = check(explainer, tol=tol)
    console().print(_check_table(model, checks))
    if not all(outcome.passed for outcome in checks):
        raise typer.Exit(1)


def _check_table(model: str, checks: "list[Check]") -> Table:
    table = Table(title=Text(f"ligflow check {model}"), title_justify="left", box=None, padding=(0, 2, 0, 0))
    for name in ("check", "", "measured", "limit", "detail"):
        table.add_column(name)
    for outcome in checks:
        verdict = Text("pass", style="green") if outcome.passed else Text("FAIL", style="bold red")
        verdict = verdict if outcome.compared else Text("none", style="yellow")
        table.add_row(outcome.name, verdict, outcome.measured, outcome.limit, Text(outcome.detail))
    return table
