"""Sentences in a column: JSON lines, CSV, TSV and Parquet. A list of texts is a sentence with its words."""

import csv
import io
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ligflow.corpus.sources.sentence import BadLine, Sentence, half_in, printable
from ligflow.errors import LigflowError
from ligflow.inputs.words import Words

USUAL = ("text", "sentence")
NO_TEXT = "the line is not UTF-8, or holds a NUL; save the file as text in UTF-8"
_ONE_LINE = (
    "; in a .tsv quotation marks are text and no field has a line break or a tab (of a file that quotes its "
    "fields say --format csv)"
)


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
    lines: Iterable[tuple[int, str | None]], name: str, column: str | None
) -> Iterator[Sentence | BadLine]:
    """An object a line; blank lines are passed over."""
    number, chosen = 0, column
    for line, text in lines:
        place = f"{name}:{line}"
        if text is not None and not text.strip():
            continue
        try:
            row = json.loads(text) if text is not None else None
        except (ValueError, RecursionError) as error:
            row = str(error)
        if not isinstance(row, dict):
            problem = f" ({row})" if isinstance(row, str) else ""
            yield BadLine(number, place, f"expected a JSON object in UTF-8{problem}")
        else:
            chosen = chosen or choose(list(row), None, name)
            if chosen in row:
                yield sentence_of(number, place, row[chosen])
            else:
                names = printable(", ".join(row))
                yield BadLine(number, place, f"the object has no {chosen!r}; it has {names}")
        number += 1


def rows(
    opened: Callable[[], io.TextIOWrapper], path: Path, column: str | None, quoted: bool
) -> Iterator[Sentence | BadLine]:
    """A row a sentence, below a row of column names; tabs separate in a .tsv, or where nothing is quoted."""
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
        chosen = names.index(choose(names, column, name))
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
                yield _of_row(number, f"{name}:{lines.line_num}", row, len(names), chosen, quoted)
                number += 1


def _of_row(
    number: int, place: str, row: Sequence[str], columns: int, chosen: int, quoted: bool
) -> Sentence | BadLine:
    if len(row) != columns:
        why = "" if quoted else _ONE_LINE
        return BadLine(number, place, f"expected {columns} columns, found {len(row)}{why}")
    if not is_text(row[chosen]):
        return BadLine(number, place, NO_TEXT)
    return sentence_of(number, place, row[chosen])


def parquet(path: Path, column: str | None) -> Iterator[Sentence | BadLine]:
    """A row a sentence, read in batches."""
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise LigflowError(f"{str(path)!r} is no Parquet file: {error}") from error
    chosen = choose(file.schema_arrow.names, column, printable(path.name))
    return _batches(file, path, chosen)


def _batches(file: pq.ParquetFile, path: Path, chosen: str) -> Iterator[Sentence | BadLine]:
    number, name = 0, printable(path.name)
    with file:
        try:
            for batch in file.iter_batches(columns=[chosen], batch_size=1024):
                # by name: a name with a point reaches a field within another column too
                for value in batch.column(chosen).to_pylist():
                    yield sentence_of(number, f"{name}:row {number}", value)
                    number += 1
        except (pa.ArrowException, OSError) as error:
            raise LigflowError(f"{str(path)!r} is damaged after row {number}: {error}") from error
