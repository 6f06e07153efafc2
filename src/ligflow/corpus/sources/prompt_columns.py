"""Prompts in columns: which column holds what, and the values of a row, checked."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ligflow.corpus.sources.columns import OfRow, Reading
from ligflow.corpus.sources.prompt import Prompt
from ligflow.corpus.sources.sentence import BadLine, half_in, printable
from ligflow.errors import LigflowError
from ligflow.inputs.passages import Passages

FIELDS = ("prompt", "answer", "contrast", "reference", "passages", "group")
_KNOWN = ", ".join(FIELDS)
_INSTEAD = "rename it, or say which columns are read: --columns prompt=COLUMN,answer=COLUMN"


def prompts_in(columns: str | None) -> Reading[Prompt]:
    """Prompts in the columns with the names of FIELDS, or in those that are named: `prompt=q,answer=a`.

    Raises LigflowError for a name that is none of FIELDS, one that is named twice, and without a prompt.
    """
    named = None if columns is None else _named(columns)
    column_of = {field: field for field in FIELDS} if named is None else named

    def of_objects(_: str) -> OfRow[Prompt]:
        def of_row(number: int, place: str, row: Mapping[str, Any]) -> Prompt | BadLine:
            problem = _unknown(row, named)
            if problem:
                return BadLine(number, place, problem)
            return prompt_of(number, place, {field: row.get(name) for field, name in column_of.items()})

        return of_row

    def of_columns(names: Sequence[str], what: str) -> tuple[Sequence[str], OfRow[Prompt]]:
        _check(names, what, named)
        own = {field: name for field, name in column_of.items() if name in names}

        def of_row(number: int, place: str, row: Mapping[str, Any]) -> Prompt | BadLine:
            return prompt_of(number, place, {field: row[name] for field, name in own.items()})

        return [*own.values()], of_row

    return Reading(of_objects, of_columns)


def _named(columns: str) -> dict[str, str]:
    """Which column holds which field: `prompt=question,answer` (a column of the field's own name)."""
    pairs = [(field.strip(), name.strip() or field.strip()) for field, _, name in _split(columns)]
    fields = [field for field, _ in pairs]
    for field in fields:
        if field not in FIELDS:
            raise LigflowError(f"columns names {field!r}, which no prompt has; choose from {_KNOWN}.")
        if fields.count(field) > 1:
            raise LigflowError(f"columns names {field!r} twice; give one column for it.")
    if "prompt" not in fields:
        raise LigflowError(f"columns {columns!r} names no prompt; give prompt=COLUMN too.")
    return dict(pairs)


def _split(columns: str) -> list[tuple[str, str, str]]:
    return [part.partition("=") for part in columns.split(",")]


def _unknown(row: Mapping[str, Any], named: Mapping[str, str] | None) -> str:
    """What is wrong with the names of an object; where columns are named, others may stand beside."""
    others = [] if named is not None else [name for name in row if name not in FIELDS]
    if others:
        return f"the object has a field {printable(others[0])!r} that is not known ({_KNOWN}); {_INSTEAD}"
    prompt = "prompt" if named is None else named["prompt"]
    if prompt not in row:
        return f"the object has no {prompt!r}; it has {printable(', '.join(row)) or 'nothing'}"
    return ""


def _check(names: Sequence[str], what: str, named: Mapping[str, str] | None) -> None:
    """Raises LigflowError for columns that lack one, have one that is not known, or one twice."""
    listed = ", ".join(map(repr, names))
    wanted = ["prompt"] if named is None else [*named.values()]
    for column in wanted:
        if column not in names:
            raise LigflowError(
                f"{what} has no column {column!r}; it has {listed}. Say which columns are read: --columns "
                "prompt=COLUMN,answer=COLUMN."
            )
    for column in FIELDS if named is None else wanted:
        if list(names).count(column) > 1:
            raise LigflowError(f"{what} has several columns {column!r}; give each a name of its own.")
    others = [] if named is not None else [name for name in names if name not in FIELDS]
    if others:
        raise LigflowError(f"{what} has a column {others[0]!r} that is not known ({_KNOWN}); {_INSTEAD}.")


# --- the values of a row -------------------------------------------------------------------------------


def prompt_of(number: int, place: str, values: Mapping[str, Any]) -> Prompt | BadLine:
    """A row's values, by the names of FIELDS, as a prompt; an empty one is as one that is not there."""
    try:
        texts = {
            name: _text(name, values.get(name)) for name in ("prompt", "answer", "contrast", "reference")
        }
        text = texts.pop("prompt")
        if text is None or not text.strip():
            return BadLine(number, place, "expected a prompt, found a blank one")
        passages = _passages(values.get("passages"))
        parts = None if passages is None else Passages(text, passages).parts
        return Prompt(number, text, place, **texts, passages=parts, group=_group(values.get("group")))
    except LigflowError as error:
        return BadLine(number, place, str(error).removesuffix("."))


def _text(name: str, value: Any) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise LigflowError(f"expected a text as {name}, found {type(value).__name__} {str(value)[:40]!r}")
    if half := half_in(value):
        raise LigflowError(f"expected a text as {name}, found {half!a}, half of a character, alone")
    return value


def _group(value: Any) -> str | None:
    """A name, or a number as one."""
    return str(value) if isinstance(value, int) else _text("group", value)


def _passages(value: Any) -> Any:
    """Texts, or objects with a text and a title; in a field of CSV as JSON."""
    if value is None or value == "":
        return None
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            value = None
    if not isinstance(value, list):
        raise LigflowError('expected passages as a list, e.g. ["...", {"title": "A", "text": "..."}]')
    for part in value:
        for text in part.values() if isinstance(part, dict) else [part]:
            if isinstance(text, str):
                _text("passages", text)
    return [
        {name: text for name, text in part.items() if text is not None} if isinstance(part, dict) else part
        for part in value
    ]
