"""What all commands share: the options that name a model, texts, streams, and clear words about bad usage.

PyTorch is imported where a model is loaded, and not before: help and bad usage are answered at once.
"""

from __future__ import annotations

import io
import json
import os.path
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from ligflow.errors import LigflowError
from ligflow.inputs.labels import printable
from ligflow.inputs.token_names import layer_numbers
from ligflow.names import DTYPES, default_model

if TYPE_CHECKING:
    from ligflow.explainer.explainer import Explainer

T = TypeVar("T")
_CHAT = 'give a list of messages: [{"role": "user", "content": "Hi"}].'
TEXT, SHOWN, OUTPUT, METHOD = "Text and model", "What is shown", "Output", "Method (advanced)"
CORPUS, COMPARED, MACHINES = "Which sentences", "What is compared", "Machines"


class Usage(LigflowError):
    """Wrong use of the command line: exit code 2."""


# --- options --------------------------------------------------------------------------------------


def option(help: str, panel: str, *names: str, **more: Any) -> Any:
    """An option in a panel of the help."""
    return typer.Option(*names, help=help, rich_help_panel=panel, **more)


def choice(option: str, known: Mapping[str, str], help: str, panel: str | None = None) -> Any:
    """An option that takes one of the `known` names, or the name in code that it stands for.

    The command is given the name in code. The names are in the help and are completed.
    """

    def meant(given: Any) -> Any:
        if given is None or not isinstance(given, list | tuple):
            return None if given is None else one_of(option, given, known)
        return [one_of(option, one, known) for one in given]

    def completed(incomplete: str) -> list[str]:
        return [name for name in known if name.startswith(incomplete)]

    said = f"{help}: {', '.join(known)}."
    return typer.Option(
        option, help=said, metavar="<name>", callback=meant, autocompletion=completed, rich_help_panel=panel
    )


def one_of(option: str, given: str, known: Mapping[str, str]) -> str:
    """The name in code that a name stands for; names in code stand for themselves."""
    if given not in known and given not in known.values():
        listed = (name if name == code else f"{name} ({code})" for name, code in known.items())
        raise Usage(f"{option} {given!r} is unknown; choose from {', '.join(listed)}.")
    return known.get(given, given)


Model = Annotated[
    str | None,
    typer.Option(
        "--model", "-m", help="Hub id, folder or embedded model; default: the embedded MiniLM.",
        rich_help_panel=TEXT,
    ),
]  # fmt: skip
Revision = Annotated[str | None, typer.Option(help="Revision of a hub model.", rich_help_panel=TEXT)]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, ...", rich_help_panel=TEXT)]
Dtype = Annotated[str, choice("--dtype", DTYPES, "Numbers of the computation", TEXT)]
Stack = Annotated[
    str | None,
    typer.Option(
        help="Which layers, where a model has several stacks of them: decoder, ...", rich_help_panel=TEXT
    ),
]
LocalOnly = Annotated[
    bool, typer.Option("--local-files-only", help="Never ask the hub.", rich_help_panel=TEXT)
]
TrustCode = Annotated[
    bool,
    typer.Option(
        "--trust-remote-code", help="Run the code that the checkpoint itself holds.", rich_help_panel=TEXT
    ),
]
Given = Annotated[str | None, typer.Argument(metavar="TEXT", help="The text, or - for standard input.")]
File = Annotated[
    Path | None, typer.Option("--file", "-f", help="A file that holds the text.", rich_help_panel=TEXT)
]
Chat = Annotated[
    Path | None,
    typer.Option(
        "--chat",
        help="A JSON file of the messages of a chat, role and content; - for standard input.",
        rich_help_panel=TEXT,
    ),
]


# --- streams --------------------------------------------------------------------------------------


def speak_utf8() -> None:
    """Standard streams in UTF-8 whatever the code page; a terminal keeps its own, and escapes the rest."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding=None if stream.isatty() else "utf-8", errors="backslashreplace")


def console() -> Console:
    """Standard output."""
    return Console(highlight=False, soft_wrap=False)


def errors() -> Console:
    """Standard error."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def error(message: str) -> str:
    """A message as rich markup, with its own brackets kept."""
    shown = "\n".join(map(printable, message.split("\n")))
    return f"[bold red]error[/]: {escape(shown)}"


@contextmanager
def counted(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error, where that is a terminal, to be told (done, of); it goes when it is done."""
    from ligflow.progress import stopwatch

    pace, said = TextColumn("{task.fields[pace]}"), stopwatch(what.removesuffix("s"))
    columns = TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), pace
    screen = errors()
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as bar:
        task = bar.add_task(what, total=None, pace="")
        yield lambda done, of: bar.update(task, completed=done, total=of, pace=said(done))


@cache
def loading(model: str | None) -> None:
    """Says once what is waited for, where standard error is a terminal: PyTorch and a model take seconds."""
    screen = errors()
    if screen.is_terminal:
        screen.print(Text(f"loading {printable(model or default_model())} ..."))


# --- what is given --------------------------------------------------------------------------------


def checked(call: Callable[..., T], *arguments: Any) -> T:
    """Turns a LigflowError about the arguments into bad usage."""
    try:
        return call(*arguments)
    except LigflowError as problem:
        raise Usage(str(problem)) from problem


def inputs_of(given: str | None, file: Path | None, chat: Path | None) -> str | list[dict[str, Any]]:
    """The text, or the messages of a chat."""
    if chat is None:
        return text_of(given, file)
    if given is not None or file is not None:
        raise Usage("Give one: a text, --file with its file, or --chat with that of a chat.")
    return _messages(chat)


def _messages(chat: Path) -> list[dict[str, Any]]:
    """The messages of a JSON file, or of standard input for `-`. Raises Usage that names the one at fault."""
    name = "standard input" if str(chat) == "-" else repr(str(chat))
    try:
        found = json.loads(_read("-", None) if str(chat) == "-" else _read(None, chat))
    except UnicodeError as problem:
        raise Usage(f"The chat of {name} is not valid Unicode; give JSON in UTF-8.") from problem
    except (ValueError, RecursionError) as problem:
        raise Usage(f"{name} holds no JSON ({problem}); {_CHAT}") from problem
    if not isinstance(found, list) or not found:
        raise Usage(f"{name} holds no list of messages; {_CHAT}")
    for number, one in enumerate(found):
        if not isinstance(one, dict) or not {"role", "content"} <= {*one}:
            raise Usage(f"Message {number} of {name} has no role and content; {_CHAT}")
    return found


def text_of(given: str | None, file: Path | None = None) -> str:
    """The text: as typed, that of standard input for `-`, or that of a file."""
    try:
        text = _read(given, file)
        text.encode()
    except UnicodeError as problem:
        raise Usage("The text is not valid Unicode; give text in UTF-8.") from problem
    if not text.strip():
        raise Usage("The text is empty or blank; give at least one word.")
    return text


def _read(given: str | None, file: Path | None) -> str:
    """Files and pipes end their last line, which is not of the text."""
    if (given is None) == (file is None):
        raise Usage('Give one text: "in quotation marks", - for standard input, or --file with its file.')
    if file is not None:
        try:
            return file.read_text(encoding="utf-8-sig").removesuffix("\n")
        except OSError as problem:
            raise Usage(f"Cannot read {str(file)!r}: {problem.strerror}.") from problem
    if given == "-":
        if isinstance(sys.stdin, io.TextIOWrapper):
            sys.stdin.reconfigure(encoding="utf-8-sig", errors="strict")
        return sys.stdin.read().removesuffix("\n")
    assert given is not None
    if os.path.isfile(given):  # noqa: PTH113 - a text can be too long for a name, which pathlib raises
        raise Usage(f"{given!r} is a file; to explain the text in it give --file {given}, or - < {given}.")
    return given


def enough_draws(draws: int) -> int:
    """The draws of a bootstrap, if they make an interval."""
    if draws < 100:
        raise Usage(f"--draws is {draws}; an interval takes at least 100.")
    return draws


def layer_range(option: str, given: str | None) -> list[int] | None:
    """Layers as numbers and ranges, 0-3,5."""
    try:
        return None if given is None else layer_numbers(given)
    except LigflowError as problem:
        raise Usage(f"{option}: {problem}") from problem


def explainer_of(
    model: str | None,
    revision: str | None,
    device: str | None,
    dtype: str,
    local_files_only: bool,
    unembedding: bool = False,
    stack: str | None = None,
    trust_remote_code: bool = False,
) -> Explainer:
    """The explainer that the options name."""
    loading(model)
    import torch

    from ligflow.explainer.explainer import Explainer

    options: dict[str, Any] = {
        "local_files_only": local_files_only, "unembedding": unembedding,
        "trust_remote_code": trust_remote_code,
    } | ({"revision": revision} if revision else {})  # fmt: skip
    return Explainer.from_pretrained(model, device, getattr(torch, dtype), stack=stack, **options)
