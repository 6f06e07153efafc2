"""What all commands share: the options that name a model, and clear words about bad usage."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, TypeVar

import torch
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ligflow.errors import LigflowError
from ligflow.explainer import Explainer
from ligflow.token_names import layer_numbers

T = TypeVar("T")
_DTYPES = {"float32": torch.float32, "float64": torch.float64}

Model = Annotated[
    str | None,
    typer.Option("--model", "-m", help="Hub id, folder or embedded model; default: the embedded MiniLM."),
]
Revision = Annotated[str | None, typer.Option(help="Revision of a hub model.")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, ...")]
Dtype = Annotated[str, typer.Option(help="float32 or float64.")]
Stack = Annotated[
    str | None, typer.Option(help="Which layers, where a model has several stacks of them: decoder, ...")
]
LocalOnly = Annotated[bool, typer.Option("--local-files-only", help="Never ask the hub.")]
TrustCode = Annotated[
    bool, typer.Option("--trust-remote-code", help="Run the code that the checkpoint itself holds.")
]


class Usage(LigflowError):
    """Wrong use of the command line: exit code 2."""


def console() -> Console:
    """Standard output."""
    return Console(highlight=False, soft_wrap=False)


def errors() -> Console:
    """Standard error."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def checked(call: Callable[..., T], *arguments: Any) -> T:
    """Turns a LigflowError about the arguments into bad usage."""
    try:
        return call(*arguments)
    except LigflowError as problem:
        raise Usage(str(problem)) from problem


def text_of(text: str) -> str:
    """The text, or standard input for `-`."""
    try:
        text = sys.stdin.read() if text == "-" else text
        text.encode()
    except UnicodeError as problem:
        raise LigflowError("The text is not valid Unicode; give text in UTF-8.") from problem
    if not text.strip():
        raise LigflowError("The text is empty or blank; give at least one word.")
    return text


@contextmanager
def counted(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error, where that is a terminal, to be told (done, of); it goes when it is done."""
    columns = TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    screen = errors()
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, of: bar.update(task, completed=done, total=of)


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


def one_of(option: str, given: str, known: dict[str, T]) -> T:
    """What a name stands for."""
    if given not in known:
        raise Usage(f"{option} {given!r} is unknown; choose from {', '.join(known)}.")
    return known[given]


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
    options: dict[str, Any] = {
        "local_files_only": local_files_only, "unembedding": unembedding,
        "trust_remote_code": trust_remote_code,
    } | ({"revision": revision} if revision else {})  # fmt: skip
    return Explainer.from_pretrained(model, device, one_of("--dtype", dtype, _DTYPES), stack=stack, **options)
