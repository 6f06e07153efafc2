"""Wrong use of the command line, in clear words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from ligflow.errors import LigflowError
from ligflow.inputs.token_names import layer_numbers

T = TypeVar("T")


class Usage(LigflowError):
    """Wrong use of the command line: exit code 2."""


def checked(call: Callable[..., T], *arguments: Any) -> T:
    """Turns a LigflowError about the arguments into bad usage."""
    try:
        return call(*arguments)
    except LigflowError as problem:
        raise Usage(str(problem)) from problem


def layer_range(option: str, layers: str | None) -> list[int] | None:
    """The layers that an option names, as numbers and ranges: 0-3,5. Raises Usage for what is none."""
    try:
        return None if layers is None else layer_numbers(layers)
    except LigflowError as problem:
        raise Usage(f"{option}: {problem}") from problem
