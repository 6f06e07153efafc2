"""Positions on an axis, as a caller gives them: one number or several, negative ones from the end."""

import operator
from collections.abc import Iterable
from typing import Any

from ligflow.errors import LigflowError

Positions = int | Iterable[int]


def positions(what: str, chosen: Positions | None, count: int) -> list[int]:
    """Positions from 0, in order and once each; negative ones count from the end."""
    if chosen is None:
        return list(range(count))
    numbers = _whole_numbers(what, chosen)
    for index in numbers:
        if not -count <= index < count:
            raise LigflowError(f"There is no {what} {index}: there are {count}, numbered 0 to {count - 1}.")
    if not numbers:
        raise LigflowError(f"No {what} was chosen; give at least one, or None for all.")
    return sorted({index % count for index in numbers})


def _whole_numbers(what: str, chosen: Positions) -> list[int]:
    """Plain integers, from those of Python, NumPy or torch."""
    try:
        return [_whole_number(one) for one in (chosen if isinstance(chosen, Iterable) else [chosen])]
    except TypeError as error:
        raise LigflowError(
            f"{what}s is {chosen!r}; give whole numbers, e.g. {what}s=[0, -1], or None for all."
        ) from error


def _whole_number(given: Any) -> int:
    if isinstance(given, bool) or "bool" in str(getattr(given, "dtype", "")):
        raise TypeError("a truth value is not a position")
    return operator.index(given)
