"""Shapes are checked once for every way in which a function of ligflow that says shapes is called.

A way is the shapes and types of the arguments, and of what they hold. To check a call takes longer than most
of the functions: a quadrature calls the same ones ten thousand times with the same shapes, and each of
6,000 tests calls them on layers as tiny as those of the last. So a way is checked when a process first meets
it, among a function's first calls in a test, and again only after it failed. What is not seen is a wrong
shape in a later call of a test alone, or one that depends on numbers and not on shapes.
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
import numpy as np
from jaxtyping import AbstractArray, config, install_import_hook
from torch import Tensor

CALLS = 16  # of a function in a test whose ways are looked at
DEPTH = 2  # of fields in fields that belong to a way
_jaxtyped: Callable[..., Any] = jaxtyping.jaxtyped
_calls: Counter[Callable[..., Any]] = Counter()
_checked: set[tuple[Callable[..., Any], int]] = set()  # functions, and hashes of ways that were right


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
    """A function that is watched in its first calls of a test, where they are of a new way."""

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if config.jaxtyping_disable or _calls[function] >= CALLS:
            return function(*args, **kwargs)
        _calls[function] += 1
        way = function, hash((_form(args, DEPTH), _form(kwargs, DEPTH)))
        if way in _checked:
            return function(*args, **kwargs)
        returned = watched(*args, **kwargs)
        _checked.add(way)
        return returned

    return call


def _form(value: Any, depth: int) -> Any:
    """What decides whether an argument's shapes are right: all but the numbers in tensors."""
    if isinstance(value, Tensor | np.ndarray):
        return value.shape, value.dtype
    if isinstance(value, list | tuple):
        return type(value), tuple(_form(item, depth) for item in value)
    if isinstance(value, dict):
        return tuple((str(name), _form(item, depth)) for name, item in value.items())
    if value is None or isinstance(value, bool | int | str):
        return value
    held = getattr(value, "__dict__", None) if depth else None
    return type(value), _form(held, depth - 1) if held else None


def _says_shapes(one: Any) -> bool:
    one = one.fget if isinstance(one, property) else getattr(one, "__func__", one)
    return any(map(_is_shape, inspect.get_annotations(one).values()))


def _is_shape(annotation: Any) -> bool:
    if isinstance(annotation, list | tuple):  # the arguments of a callable
        return any(map(_is_shape, annotation))
    if inspect.isclass(annotation) and issubclass(annotation, AbstractArray):
        return True
    return any(map(_is_shape, get_args(annotation)))
