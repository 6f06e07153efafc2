"""Every call of a function of ligflow that says shapes is checked against them.

Not the functions within functions: they are made anew at each call, and it takes longer to wrap one than to
call it. Types without shapes are mypy's.
"""

import inspect
from collections.abc import Callable
from typing import Any, get_args

import jaxtyping
from jaxtyping import AbstractArray, install_import_hook

_jaxtyped: Callable[..., Any] = jaxtyping.jaxtyped


def install(package: str) -> None:
    """Before the package is imported."""
    install_import_hook(package, "beartype.beartype")
    jaxtyping.jaxtyped = _decorator


def _decorator(typechecker: Any) -> Callable[[Any], Any]:
    def checked(one: Any) -> Any:
        within = "<locals>" in getattr(one, "__qualname__", "")
        return one if within or not _says_shapes(one) else _jaxtyped(one, typechecker=typechecker)

    return checked


def _says_shapes(one: Any) -> bool:
    one = one.fget if isinstance(one, property) else getattr(one, "__func__", one)
    return any(map(_is_shape, inspect.get_annotations(one).values()))


def _is_shape(annotation: Any) -> bool:
    if isinstance(annotation, list | tuple):  # the arguments of a callable
        return any(map(_is_shape, annotation))
    if inspect.isclass(annotation) and issubclass(annotation, AbstractArray):
        return True
    return any(map(_is_shape, get_args(annotation)))
