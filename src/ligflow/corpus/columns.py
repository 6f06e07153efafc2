"""Sentences in a column: JSON lines, CSV and Parquet. A list of texts is a sentence with its words."""

import csv
import io
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ligflow.corpus.sentence import BadLine, Sentence
from ligflow.errors import LigflowError
from ligflow.tokens import Words

USUAL = ("text", "sentence")


def choose(known: Sequence[str], asked: str | None, what: str) -> str:
    """The column with the sentences: the one that is asked for, or the one with a usual name."""
    if asked is not None:
        if asked not in known:
            raise LigflowError(f"{what} has no column {asked!r}; it has {', '.join(map(repr, known))}.")
        return asked
    usual = [name for name in USUAL if name in known]
    if len(usual) != 1:
        raise LigflowError(
            f"Which column of {what} holds the sentences? Give --column: {', '.join(map(repr, known))}."
        )
    return usual[0]


def sentence_of(number: int, place: str, value: Any) -> Sentence | BadLine:
    """A text, or a list of words, as a sentence."""
    if isinstance(value, list) and value and all(isinstance(w, str) and w.strip() for w in value):
        words = Words.joined(value)
        return Sentence(number, words.text, place, words.spans)
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
        except ValueError as error:
            row = str(error)
        if not isinstance(row, dict):
            problem = f" ({row})" if isinstance(row, str) else ""
            yield BadLine(number, place, f"expected a JSON object in UTF-8{problem}")
        else:
            chosen = chosen or choose(list(row), None, name)
            if chosen in row:
                yield sentence_of(number, place, row[chosen])
            else:
                yield BadLine(number, place, f"the object has no {chosen!r}; it has {', '.join(row)}")
        number += 1


def csv_rows(
    opened: Callable[[], io.TextIOWrapper], path: Path, column: str | None
) -> Iterator[Sentence | BadLine]:
    """A row a sentence, below a row of column names; separated by tabs in a .tsv."""
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    tabs = ".tsv" in path.suffixes
    with opened() as file:
        rows = csv.reader(file, delimiter="\t" if tabs else ",", strict=True)
        try:
            names = next(rows, [])
        except (csv.Error, OSError, EOFError) as error:
            raise LigflowError(
                f"The names of the columns in {str(path)!r} cannot be read: {error}."
            ) from error
        chosen = names.index(choose(names, column, path.name))
        number = 0
        while True:
            try:
                row = next(rows, None)
            except csv.Error as error:
                yield BadLine(number, f"{path.name}:{rows.line_num}", f"no row of CSV: {error}")
                number += 1
                continue
            except (OSError, EOFError) as error:
                raise LigflowError(f"The corpus {str(path)!r} cannot be read to its end: {error}.") from error
            if row is None:
                return
            if row:
                yield _of_csv(number, f"{path.name}:{rows.line_num}", row, names, chosen)
                number += 1


def _of_csv(
    number: int, place: str, row: Sequence[str], names: Sequence[str], chosen: int
) -> Sentence | BadLine:
    if len(row) != len(names):
        return BadLine(number, place, f"expected {len(names)} columns, found {len(row)}")
    if any("\udc80" <= c <= "\udcff" for c in row[chosen]):
        return BadLine(number, place, "the line is not UTF-8; save the file in UTF-8")
    return sentence_of(number, place, row[chosen])


def parquet(path: Path, column: str | None) -> Iterator[Sentence | BadLine]:
    """A row a sentence, read in batches."""
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise LigflowError(f"{str(path)!r} is no Parquet file: {error}") from error
    chosen = choose(file.schema_arrow.names, column, path.name)
    return _batches(file, path, chosen)


def _batches(file: pq.ParquetFile, path: Path, chosen: str) -> Iterator[Sentence | BadLine]:
    number = 0
    with file:
        try:
            for batch in file.iter_batches(columns=[chosen], batch_size=1024):
                for value in batch.column(0).to_pylist():
                    yield sentence_of(number, f"{path.name}:row {number}", value)
                    number += 1
        except (pa.ArrowException, OSError) as error:
            raise LigflowError(f"{str(path)!r} is damaged after row {number}: {error}") from error
