"""Rows with columns: JSON lines, CSV, TSV and Parquet; and sentences in one of the columns.

A list of texts is a sentence with its words.
"""

import csv
import io
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from ligflow.corpus.sources.sentence import BadLine, Sentence, half_in, printable
from ligflow.errors import LigflowError
from ligflow.inputs.words import Words

Kind = TypeVar("Kind")
OfRow = Callable[[int, str, Mapping[str, Any]], Kind | BadLine]  # by the row's number, its place, its values
USUAL = ("text", "sentence")
NO_TEXT = "the line is not UTF-8, or holds a NUL; save the file as text in UTF-8"
_ONE_LINE = (
    "; in a .tsv quotation marks are text and no field has a line break or a tab (of a file that quotes its "
    "fields say --format csv)"
)


@dataclass(frozen=True)
class Reading(Generic[Kind]):
    """How rows are read. Both functions are given what the source is called.

    `of_objects` reads objects, whose names may differ; `of_columns` rows below `names`, and says which of
    these it reads.
    """

    of_objects: Callable[[str], OfRow[Kind]]
    of_columns: Callable[[Sequence[str], str], tuple[Sequence[str], OfRow[Kind]]]


def sentences_in(column: str | None) -> Reading[Sentence]:
    """Sentences in a column: the one that is asked for, or the one with a usual name."""

    def of_objects(what: str) -> OfRow[Sentence]:
        chosen = column

        def of_row(number: int, place: str, row: Mapping[str, Any]) -> Sentence | BadLine:
            nonlocal chosen
            chosen = chosen or choose(list(row), None, what)
            if chosen in row:
                return sentence_of(number, place, row[chosen])
            names = printable(", ".join(row))
            return BadLine(number, place, f"the object has no {chosen!r}; it has {names}")

        return of_row

    def of_columns(names: Sequence[str], what: str) -> tuple[Sequence[str], OfRow[Sentence]]:
        chosen = choose(names, column, what)
        return [chosen], lambda number, place, row: sentence_of(number, place, row[chosen])

    return Reading(of_objects, of_columns)


def choose(known: Sequence[str], wanted: str | None, what: str) -> str:
    """The column with the sentences: the one that is asked for, or the one with a usual name."""
    usual = [wanted] if wanted is not None else [name for name in USUAL if name in known]
    if len(usual) != 1:
        raise LigflowError(
            f"Which column of {what} holds the sentences? Give --column: {', '.join(map(repr, known))}."
        )
    (chosen,) = usual
    if chosen not in known:
        raise LigflowError(f"{what} has no column {chosen!r}; it has {', '.join(map(repr, known))}.")
    if list(known).count(chosen) > 1:
        raise LigflowError(f"{what} has several columns {chosen!r}; give each a name of its own.")
    return chosen


def is_text(line: str) -> bool:
    """Whether a line was UTF-8, and text: other bytes are read as halves of characters."""
    return half_in(line) is None and "\0" not in line


def sentence_of(number: int, place: str, value: Any) -> Sentence | BadLine:
    """A text, or a list of words, as a sentence."""
    words = value if isinstance(value, list) else [value]
    half = next((half for word in words if isinstance(word, str) and (half := half_in(word))), None)
    if half is not None:
        return BadLine(number, place, f"expected a text, found {half!a}, half of a character, alone")
    if isinstance(value, list) and value and all(isinstance(w, str) and w.strip() for w in value):
        joined = Words.joined(value)
        return Sentence(number, joined.text, place, joined.spans)
    if isinstance(value, str) and value.strip():
        return Sentence(number, value.strip(), place)
    kind = "blank" if isinstance(value, str) else f"{type(value).__name__} {str(value)[:40]!r}"
    return BadLine(number, place, f"expected a text or a list of words, found {kind}")


def json_lines(
    lines: Iterable[tuple[int, str | None]], name: str, reading: Reading[Kind]
) -> Iterator[Kind | BadLine]:
    """An object a line; blank lines are passed over."""
    number, of_row = 0, reading.of_objects(name)
    for line, text in lines:
        place = f"{name}:{line}"
        if text is not None and not text.strip():
            continue
        try:
            row = json.loads(text) if text is not None else None
        except (ValueError, RecursionError) as error:
            row = str(error)
        if isinstance(row, dict):
            yield of_row(number, place, row)
        else:
            problem = f" ({row})" if isinstance(row, str) else ""
            yield BadLine(number, place, f"expected a JSON object in UTF-8{problem}")
        number += 1


def rows(
    opened: Callable[[], io.TextIOWrapper], path: Path, reading: Reading[Kind], quoted: bool
) -> Iterator[Kind | BadLine]:
    """A row an item, below a row of column names; tabs separate in a .tsv, or where nothing is quoted."""
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    tabs, name = not quoted or ".tsv" in path.suffixes, printable(path.name)
    with opened() as file:
        lines = csv.reader(
            file,
            delimiter="\t" if tabs else ",",
            quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
            strict=True,
        )
        try:
            names = next(lines, [])
        except (csv.Error, OSError) as error:
            raise LigflowError(
                f"The names of the columns in {str(path)!r} cannot be read: {error}."
            ) from error
        chosen, of_row = reading.of_columns(names, name)
        number = 0
        while True:
            try:
                row = next(lines, None)
            except csv.Error as error:
                yield BadLine(number, f"{name}:{lines.line_num}", f"no row of CSV: {error}")
                number += 1
                continue
            except OSError as error:
                raise LigflowError(f"The corpus {str(path)!r} cannot be read to its end: {error}.") from error
            if row is None:
                return
            if row:
                place = f"{name}:{lines.line_num}"
                values = _values(row, names, chosen, quoted)
                yield (
                    BadLine(number, place, values)
                    if isinstance(values, str)
                    else of_row(number, place, values)
                )
                number += 1


def _values(
    row: Sequence[str], names: Sequence[str], chosen: Sequence[str], quoted: bool
) -> Mapping[str, str] | str:
    """The values of the chosen columns; or what is wrong with the row."""
    if len(row) != len(names):
        return f"expected {len(names)} columns, found {len(row)}{'' if quoted else _ONE_LINE}"
    values = {name: row[names.index(name)] for name in chosen}
    return values if all(map(is_text, values.values())) else NO_TEXT


def parquet(path: Path, reading: Reading[Kind]) -> Iterator[Kind | BadLine]:
    """A row an item, read in batches."""
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise LigflowError(f"{str(path)!r} is no Parquet file: {error}") from error
    chosen, of_row = reading.of_columns(file.schema_arrow.names, printable(path.name))
    return _batches(file, path, chosen, of_row)


def _batches(
    file: pq.ParquetFile, path: Path, chosen: Sequence[str], of_row: OfRow[Kind]
) -> Iterator[Kind | BadLine]:
    number, name = 0, printable(path.name)
    with file:
        try:
            for batch in file.iter_batches(columns=list(chosen), batch_size=1024):
                # by name: a name with a point reaches a field within another column too
                columns = [batch.column(column).to_pylist() for column in chosen]
                for values in zip(*columns, strict=True):
                    row = dict(zip(chosen, values, strict=True))
                    yield of_row(number, f"{name}:row {number}", row)
                    number += 1
        except (pa.ArrowException, OSError) as error:
            raise LigflowError(f"{str(path)!r} is damaged after row {number}: {error}") from error
