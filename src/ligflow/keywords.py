"""Keyword arguments that are listed once, with types and defaults, and taken by several functions."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from ligflow.errors import LigflowError

Function = TypeVar("Function", bound=Callable[..., Any])


def listing(kinds: Mapping[str, Any], defaults: Mapping[str, Any]) -> Callable[[Function], Function]:
    """A decorator: the signature of a function of `**options` lists them, in `help` and notebooks.

    `kinds` are their annotations, by name and in order. Those that the function has as parameters of its own
    are not listed twice. Type checkers read the same from `Unpack[...]`.
    """

    def listed(function: Function) -> Function:
        signature = inspect.signature(function)
        every = signature.parameters.values()
        own = [each for each in every if each.kind is not each.VAR_KEYWORD]
        rest = [each for each in every if each.kind is each.VAR_KEYWORD and each.annotation is Any]
        options = [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=getattr(defaults[name], "name", defaults[name]),
                annotation=kind,
            )
            for name, kind in kinds.items()
            if name not in signature.parameters
        ]
        replaced = signature.replace(parameters=[*own, *options, *rest])
        function.__signature__ = replaced  # type: ignore[attr-defined]
        return function

    return listed


def check_flag(name: str, value: object) -> None:
    """Raises LigflowError for anything but True or False, such as a text, which would count as True."""
    if not isinstance(value, bool):
        raise LigflowError(f"{name} is {value!r}; give True or False.")


def check_keywords(keywords: Iterable[str], known: Iterable[str]) -> None:
    """Raises TypeError for a keyword that is none of those that are known, with these."""
    choices = list(known)
    for keyword in keywords:
        if keyword not in choices:
            raise TypeError(f"unexpected keyword argument {keyword!r}; choose from {', '.join(choices)}")
