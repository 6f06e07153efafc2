"""The first calls, in each test, of every function of ligflow that says shapes are checked against them.

A quadrature calls the same functions ten thousand times with the same shapes, and to check all of these
calls took half of a test's time. A wrong shape in a later call alone is not seen.
Not the functions within functions: they are made anew at each call, and it takes longer to wrap one than to
call it. Types without shapes are mypy's. Of a list one item is checked, drawn at random: the draws of a test
are the same whenever it runs.
"""

import inspect
import random
from collections import Counter
from collections.abc import Callable
from functools import wraps
from typing import Any, get_args

import jaxtyping
from jaxtyping import AbstractArray, install_import_hook

CALLS = 16  # of a function in a test that are checked
_jaxtyped: Callable[..., Any] = jaxtyping.jaxtyped
_calls: Counter[Callable[..., Any]] = Counter()


def install(package: str) -> None:
    """Before the package is imported."""
    install_import_hook(package, "beartype.beartype")
    jaxtyping.jaxtyped = _decorator


def _decorator(typechecker: Any) -> Callable[[Any], Any]:
    def checked(one: Any) -> Any:
        within = "<locals>" in getattr(one, "__qualname__", "")
        if within or not _says_shapes(one):
            return one
        watched = _jaxtyped(one, typechecker=typechecker)
        return _at_first(one, watched) if inspect.isfunction(one) else watched

    return checked


def begin_test() -> None:
    """The calls of another test are counted from here, and its items drawn."""
    _calls.clear()
    random.seed(0)


def _at_first(function: Callable[..., Any], watched: Callable[..., Any]) -> Callable[..., Any]:
    """A function that is watched in its first calls of a test."""

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if _calls[function] >= CALLS:
            return function(*args, **kwargs)
        _calls[function] += 1
        return watched(*args, **kwargs)

    return call


def _says_shapes(one: Any) -> bool:
    one = one.fget if isinstance(one, property) else getattr(one, "__func__", one)
    return any(map(_is_shape, inspect.get_annotations(one).values()))


def _is_shape(annotation: Any) -> bool:
    if isinstance(annotation, list | tuple):  # the arguments of a callable
        return any(map(_is_shape, annotation))
    if inspect.isclass(annotation) and issubclass(annotation, AbstractArray):
        return True
    return any(map(_is_shape, get_args(annotation)))
