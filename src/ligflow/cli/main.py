"""The command line: its commands, and how they end. Exit codes: 0 good, 1 a failed run, 2 bad usage."""

import re
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from ligflow._version import __version__
from ligflow.cli.compare import compare_models
from ligflow.cli.corpus import corpus
from ligflow.cli.explain import explain, view
from ligflow.cli.faithfulness import try_methods
from ligflow.cli.options import (
    Device,
    Dtype,
    LocalOnly,
    Revision,
    Stack,
    TrustCode,
    Usage,
    console,
    error,
    errors,
    explainer_of,
    speak_utf8,
)
from ligflow.cli.serve import serve
from ligflow.cli.trace import follow
from ligflow.errors import LigflowError
from ligflow.evaluation.tested_models import SPLIT, WHOLE

if TYPE_CHECKING:
    from ligflow.evaluation.conformance import Check

_OPTION = re.compile(r"-[a-zA-Z]|--[a-z][a-z-]*(=.*)?", re.DOTALL)
_MISTYPED: Any = typer.BadParameter.__base__  # what typer raises for all that is mistyped

app = typer.Typer(
    help="Certified Layer-wise Integrated Gradients for Transformers.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)


def _say_version(asked: bool) -> None:
    if asked:
        console().print(f"ligflow {__version__}")
        raise typer.Exit


@app.callback()
def _of_all(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Certified Layer-wise Integrated Gradients for Transformers."""


app.command()(explain)
app.command("trace")(follow)
app.command()(view)


@app.command("check")
def check_model(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Hub id, folder or embedded model.")],
    revision: Revision = None,
    device: Device = None,
    dtype: Dtype = "float32",
    local_files_only: LocalOnly = False,
    trust_remote_code: TrustCode = False,
    stack: Stack = None,
    tol: Annotated[float, typer.Option(help="Tolerance of the certificates.")] = 1e-3,
) -> None:
    """Run the conformance checks on a model; exit code 1 if one fails."""
    explainer = explainer_of(
        model, revision, device, dtype, local_files_only, stack=stack, trust_remote_code=trust_remote_code
    )
    from ligflow.evaluation.conformance import check

    checks = check(explainer, tol=tol)
    console().print(_check_table(model, checks))
    if not all(one.passed for one in checks):
        raise typer.Exit(1)


app.command()(serve)
app.command("compare")(compare_models)
corpus.command("faithfulness")(try_methods)
app.add_typer(corpus, name="corpus")


@app.command()
def models() -> None:
    """List the model types that are tested against brute-force autograd."""
    table = Table(
        title="tested model types: all maps cell by cell against autograd, a lone layer map by its sums",
        title_justify="left",
        box=None,
    )
    for name in ("model type", "maps", "what it exercises"):
        table.add_column(name)
    for known, maps in ((SPLIT, "all"), (WHOLE, "layer")):
        for name, note in sorted(known.items()):
            table.add_row(name, maps, note)
    console().print(table)
    console().print(
        "Others work too, if their attention goes through the interface of transformers or is a softmax of "
        "products: ligflow check MODEL."
    )


def main() -> None:
    """The entry point: one clear line for every error that a user can mend."""
    speak_utf8()
    try:
        sys.exit(app(prog_name="ligflow", standalone_mode=False))
    except _MISTYPED as problem:
        _refuse(_mistyped(problem), 2)
    except Usage as problem:
        _refuse(str(problem), 2)
    except LigflowError as problem:
        _refuse(str(problem), 1)


def _refuse(message: str, code: int) -> None:
    if message:
        errors().print(error(message))
    sys.exit(code)


def _mistyped(problem: Any) -> str:
    """What typer says, and where to look; nothing where it has printed the help instead."""
    said = " ".join(problem.format_message().split()).removesuffix(".")
    typed = sys.argv[1 : sys.argv.index("--") if "--" in sys.argv else None]
    if not said:
        return ""
    if any(one.startswith("-") and one != "-" and not _OPTION.fullmatch(one) for one in typed):
        return f'{said}; a text that begins with a dash goes behind two: ligflow explain -- "- so".'
    command = problem.ctx.command_path if problem.ctx else "ligflow"
    return f"{said} See {command} --help." if said.endswith("?") else f"{said}; see {command} --help."


def _check_table(model: str, checks: "list[Check]") -> Table:
    table = Table(title=Text(f"ligflow check {model}"), title_justify="left", box=None, padding=(0, 2, 0, 0))
    for name in ("check", "", "measured", "limit", "detail"):
        table.add_column(name)
    for one in checks:
        verdict = Text("pass", style="green") if one.passed else Text("FAIL", style="bold red")
        verdict = verdict if one.compared else Text("none", style="yellow")
        table.add_row(one.name, verdict, one.measured, one.limit, Text(one.detail))
    return table
