"""The command line: its commands, and how they end. Exit codes: 0 good, 1 a failed run, 2 bad usage."""

import re
import sys
from typing import Annotated, Any

import typer

from ligflow._version import __version__
from ligflow.cli.check import check_model
from ligflow.cli.compare import compare_models
from ligflow.cli.corpus import corpus
from ligflow.cli.explain import explain
from ligflow.cli.models import models
from ligflow.cli.serve import serve
from ligflow.cli.streams import console, error, errors, speak_utf8
from ligflow.cli.trace import follow
from ligflow.cli.usage_errors import Usage
from ligflow.cli.view import view
from ligflow.cli.why import why
from ligflow.errors import LigflowError

_OPTION = re.compile(r"-[a-zA-Z]|--[a-z][a-z-]*(=.*)?", re.DOTALL)
_MISTYPED: Any = typer.BadParameter.__base__  # what typer raises for all that is mistyped

app = typer.Typer(
    help="Certified Layer-wise Integrated Gradients for Transformers.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)


def _say_version(wanted: bool) -> None:
    if wanted:
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
app.command()(why)
app.command("trace")(follow)
app.command()(view)
app.command("check")(check_model)
app.command()(serve)
app.command("compare")(compare_models)
app.add_typer(corpus, name="corpus")
app.command()(models)


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
    if any(word.startswith("-") and word != "-" and not _OPTION.fullmatch(word) for word in typed):
        return f'{said}; a text that begins with a dash goes behind two: ligflow explain -- "- so".'
    command = problem.ctx.command_path if problem.ctx else "ligflow"
    return f"{said} See {command} --help." if said.endswith("?") else f"{said}; see {command} --help."
