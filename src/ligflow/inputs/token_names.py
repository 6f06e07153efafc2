"""How a caller names tokens and layers: by position, by what a token says, in ranges such as 0-3,5."""

import csv
import re
from collections.abc import Iterable, Sequence

from ligflow.errors import LigflowError
from ligflow.inputs.labels import printable
from ligflow.inputs.positions import Positions, positions

Names = int | str | Iterable[int | str]  # of tokens
Layers = Positions | str
_RANGE = re.compile(r"\s*(-?\d+)\s*(?:-\s*(-?\d+)\s*)?", re.ASCII)
_POSITION = re.compile(r"\s*-?\d+\s*", re.ASCII)
_LISTED = 60  # tokens that a message can list and still be read


def token_positions(chosen: Names | None, tokens: Sequence[str], what: str = "target") -> list[int]:
    """Positions from 0, in order and once each, of tokens that are named; None means all.

    A whole number is a position, counted from the end if negative. A text is what a token says: as it is, or
    if there is none, without its `##` and whatever its capitals. Blanks around a token count only where the
    name has them too. A text of digits is a position where no token says so. Raises LigflowError for a name
    that no token has, and for one that several have, whose positions it lists.
    """
    if chosen is None:
        return positions(what, None, len(tokens))
    if isinstance(chosen, str) or not isinstance(chosen, Iterable):
        chosen = [chosen]
    numbers = [_position(one, tokens) if isinstance(one, str) else one for one in chosen]
    return positions(what, numbers, len(tokens))


def token_position(chosen: int | str, tokens: Sequence[str], what: str = "token") -> int:
    """The position of one token, named as in `token_positions`."""
    (place,) = token_positions([chosen], tokens, what)
    return place


def comma_separated(typed: str) -> list[str]:
    """Names as they are typed: `cat,4,-1`; a name that holds a comma stands in quotation marks.

    Raises LigflowError where a name is empty.
    """
    if typed.strip() in (",", '"'):
        return [typed]
    try:
        (names,) = csv.reader([typed], strict=True)
    except (csv.Error, ValueError):
        names = typed.split(",")
    if not names or not all(names):
        raise LigflowError(f'{typed!r} holds an empty name; separate names by one comma, e.g. cat,4,",".')
    return names


def layer_positions(chosen: Layers | None, count: int) -> list[int]:
    """Layers from 0, in order and once each; None means all. Raises LigflowError for others."""
    return positions("layer", layer_numbers(chosen) if isinstance(chosen, str) else chosen, count)


def layer_numbers(typed: str) -> list[int]:
    """Numbers and ranges as they are typed: `0-3,5`, or from the end `-3--1`; ranges hold both ends.

    Raises LigflowError for anything else, and for a range that ends before it begins.
    """
    numbers: list[int] = []
    for part in typed.split(","):
        read = _RANGE.fullmatch(part)
        if read is None:
            raise LigflowError(f"{typed!r} is not a list of layers; give numbers and ranges, e.g. 0-3,5.")
        first = int(read[1])
        last = first if read[2] is None else int(read[2])
        if last < first or (first < 0) != (last < 0):
            raise LigflowError(
                f"The range {part.strip()!r} does not go up; give the smaller number first, and both "
                "from the same end, e.g. 0-3 or -3--1."
            )
        numbers += range(first, last + 1)
    return numbers


def _position(name: str, tokens: Sequence[str]) -> int:
    """The one token of this name, or the position that it is."""
    places, count = _places(name, tokens), len(tokens)
    number = int(name) if _POSITION.fullmatch(name) else None
    if number is not None and not places:
        return number
    if number is None or not -count <= number < count:
        if len(places) == 1:
            return places[0]
        raise LigflowError(_not_one(name, places, tokens))
    if places == [number % count]:
        return number
    meant = ", ".join(f"{place - count} for token {place}" for place in sorted({*places, number % count}))
    raise LigflowError(
        f"{name!r} is a position, and what token {', '.join(map(str, places))} says; "
        f"count from the end to tell them apart: {meant}."
    )


def _places(name: str, tokens: Sequence[str]) -> list[int]:
    """Where the tokens of a name are, by the strictest reading that finds any."""

    def same(token: str) -> bool:
        return token == name or token.strip() == name

    def alike(token: str) -> bool:
        return _plain(token) == _plain(name)

    readings = ([i for i, token in enumerate(tokens) if matches(token)] for matches in (same, alike))
    return next(filter(None, readings), [])


def _plain(token: str) -> str:
    return token.removeprefix("##").strip().casefold()


def _not_one(name: str, places: Sequence[int], tokens: Sequence[str]) -> str:
    count = f"{len(places)} times, at {', '.join(map(str, places))}" if places else "not"
    if len(tokens) > _LISTED:
        return f"{name!r} is {count} among the {len(tokens)} tokens; give a position, from 0."
    listed = ", ".join(f"{number} {printable(token)}" for number, token in enumerate(tokens))
    return f"{name!r} is {count} among the tokens; give a position: {listed}."
