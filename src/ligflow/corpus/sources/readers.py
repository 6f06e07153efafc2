"""Corpora, a sentence at a time: files in seven formats, datasets of the hub, the corpus that is shipped.

The readers are our own, since those of pandas, polars and `datasets` end at the first malformed line, or
drop it, and name no place.
"""

import bz2
import codecs
import gzip
import io
import lzma
import sys
from collections.abc import Callable, Iterator
from importlib import import_module, resources
from pathlib import Path
from typing import Any, cast

from ligflow import names
from ligflow.corpus.sources import columns, dependencies, hub
from ligflow.corpus.sources.columns import Kind, Reading
from ligflow.corpus.sources.prompt import Prompt
from ligflow.corpus.sources.prompt_columns import prompts_in
from ligflow.corpus.sources.sentence import BadLine, Sentence, printable
from ligflow.errors import LigflowError

EMBEDDED = "embedded:sentences"
HUB = "hf:"
Item = Sentence | BadLine
Lines = Iterator[tuple[int, str | None]]  # numbered from 1; None where a line is no text in UTF-8

_SUFFIXES = {
    ".txt": "text",
    ".conllu": "conllu",
    ".ptb": "ptb",
    ".dep": "ptb",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
}
FORMATS = tuple(names.FORMATS.values())
_COLUMNS = ("jsonl", "csv", "tsv", "parquet")
_HEAD = 65_536  # bytes that are looked at for what text does not hold


def read(
    source: str,
    *,
    format: str | None = None,
    column: str | None = None,
    split: str | None = None,
    subset: str | None = None,
) -> Iterator[Item]:
    """The sentences of a corpus in order, and what stands in place of one (BadLine); numbered from 0.

    `source` is a file (its format by its name, or `format`; `.gz`, `.bz2`, `.xz`, `.zst` are unpacked),
    `hf:NAME` for a dataset of the hub (also `hf://datasets/NAME`; `subset`, `split`), or
    `embedded:sentences`. `column` names the column with the sentences where there are columns. Nothing but
    the current sentence is kept in memory.

    Raises LigflowError for a source that is missing, unreadable, empty, in UTF-16, or of unknown format, and
    for an option that does nothing for it.
    """
    if source == EMBEDDED:
        _check_options(source, format, split, subset)
        path = resources.files("ligflow.corpus").joinpath("data/sentences.conllu")
        return _read(Path(str(path)), "conllu", column)
    if source.startswith(HUB):
        return _of_hub(source, columns.sentences_in(column), format, split, subset)
    _check_options(source, None, split, subset)
    path = Path(source)
    return _read(path, _format(path, format), column)


def read_prompts(
    source: str,
    *,
    format: str | None = None,
    columns: str | None = None,
    split: str | None = None,
    subset: str | None = None,
) -> Iterator[Prompt | BadLine]:
    """The prompts of a corpus in order, and what stands in place of one (BadLine); numbered from 0.

    `source` is a file of JSON lines, CSV, TSV or Parquet, or a dataset of the hub, as for `read`. Its
    columns are `prompt` and if they are there `answer`, `contrast`, `reference`, `passages` and `group`;
    `columns` says which hold them where they are called otherwise: `"prompt=question,answer=target"`. Then
    other columns may stand beside. Raises LigflowError as `read` does, and for columns that are not known.
    """
    reading = prompts_in(columns)
    if source.startswith(HUB):
        return _of_hub(source, reading, format, split, subset)
    if source == EMBEDDED:
        raise LigflowError(f"{source!r} holds sentences and no prompts; give a file of prompts.")
    _check_options(source, None, split, subset)
    path = Path(source)
    format_ = _format(path, format)
    if format_ not in _COLUMNS:
        raise LigflowError(f"Prompts stand in columns ({', '.join(_COLUMNS)}); {format_} has no columns.")
    _check(path)
    return _of_columns(path, format_, reading)


def _check_options(source: str, format: str | None, split: str | None, subset: str | None) -> None:
    """Raises LigflowError for an option that does nothing for a source."""
    if format is not None:
        raise LigflowError(f"format {format!r} is for files, not for {source!r}.")
    for name, value in {"split": split, "subset": subset}.items():
        if value is not None:
            raise LigflowError(f"{name} {value!r} is for datasets of the hub (hf:NAME), not for {source!r}.")


def _of_hub(
    source: str, reading: Reading[Kind], format: str | None, split: str | None, subset: str | None
) -> Iterator[Kind | BadLine]:
    _check_options(source, format, None, None)
    return hub.read(hub.dataset_of(source), reading, split, subset)


def _format(path: Path, name: str | None) -> str:
    if name is not None:
        if name not in FORMATS:
            raise LigflowError(f"Unknown format {name!r}; choose from {', '.join(FORMATS)}.")
        return name
    suffix = path.with_suffix("").suffix if path.suffix in _PACKED else path.suffix
    if suffix.lower() not in _SUFFIXES:
        raise LigflowError(
            f"The format of {str(path)!r} cannot be told from its name; give --format, one of "
            f"{', '.join(FORMATS)}."
        )
    return _SUFFIXES[suffix.lower()]


def _read(path: Path, format_: str, column: str | None) -> Iterator[Item]:
    if column is not None and format_ not in _COLUMNS:
        raise LigflowError(f"column {column!r} is for {', '.join(_COLUMNS)}; {format_} has no columns.")
    _check(path)
    if format_ in _COLUMNS:
        return _of_columns(path, format_, columns.sentences_in(column))
    _check_encoding(path)
    readers: dict[str, Callable[[Lines, str], Iterator[Item]]] = {
        "text": _plain,
        "conllu": dependencies.conllu_blocks,
        "ptb": dependencies.treebank,
    }
    return readers[format_](_lines(path), printable(path.name))


def _of_columns(path: Path, format_: str, reading: Reading[Kind]) -> Iterator[Kind | BadLine]:
    if format_ == "parquet":
        return columns.parquet(path, reading)
    _check_encoding(path)
    if format_ == "jsonl":
        return columns.json_lines(_lines(path), printable(path.name), reading)
    return columns.rows(lambda: _text(path, newline=""), path, reading, quoted=format_ == "csv")


def _check(path: Path) -> None:
    if not path.exists():
        raise LigflowError(f"There is no corpus {str(path)!r}.")
    if path.is_dir():
        raise LigflowError(f"The corpus {str(path)!r} is a folder; give a file.")
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except OSError as error:
        raise LigflowError(f"The corpus {str(path)!r} cannot be read: {error.strerror or error}.") from error
    if empty:
        raise LigflowError(f"The corpus {str(path)!r} is empty.")


def _check_encoding(path: Path) -> None:
    """Raises LigflowError where a file begins with a mark of UTF-16, or with what is no text at all."""
    try:
        with _bytes(path) as file:
            head = file.read(_HEAD)
    except OSError:
        return  # of a file that is cut short, the reader says after which line
    marked = head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    wide = 0 < head.count(b"\n") in (head.count(b"\n\0"), head.count(b"\0\n"))
    if marked or wide or head.count(0) > len(head) / 100:
        raise LigflowError(
            f"The corpus {str(path)!r} {'is in UTF-16' if marked else 'holds NULs, as UTF-16 does'}; "
            "save it in UTF-8, e.g. by `iconv -f UTF-16 -t UTF-8`."
        )


class _Unpacked(io.RawIOBase):
    """What a packed file holds. Every decoder has errors of its own, which here become OSError."""

    def __init__(self, packed: io.BufferedIOBase, suffix: str) -> None:
        self._packed, self._suffix = packed, suffix

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            piece = self._packed.read(len(buffer))
        except Exception as error:
            raise OSError(f"it is damaged or no {self._suffix} ({error})") from error
        buffer[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        self._packed.close()
        super().close()


def _bytes(path: Path) -> io.BufferedReader:
    opened = _PACKED.get(path.suffix)
    return (
        path.open("rb") if opened is None else io.BufferedReader(_Unpacked(opened(path), path.suffix), _HEAD)
    )


def _zstd(path: Path) -> io.BufferedIOBase:
    """As Python opens it from 3.14 on; `fsspec` takes `zstandard`, which does not notice a file cut short."""
    try:
        name = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
        return cast(io.BufferedIOBase, import_module(name).ZstdFile(path))
    except ImportError as error:
        raise LigflowError(
            f"{str(path)!r} cannot be unpacked here; pip install 'ligflow[corpus]', or unpack it first."
        ) from error


_PACKED: dict[str, Callable[[Path], io.BufferedIOBase]] = {
    ".gz": gzip.GzipFile, ".bz2": bz2.BZ2File, ".xz": lzma.LZMAFile, ".zst": _zstd,
}  # fmt: skip


def _text(path: Path, newline: str | None = None) -> io.TextIOWrapper:
    """As one stream, its lines ended by line feeds, carriage returns or both; no UTF-8 becomes surrogates."""
    return io.TextIOWrapper(_bytes(path), encoding="utf-8-sig", errors="surrogateescape", newline=newline)


def _lines(path: Path) -> Lines:
    try:
        with _text(path) as file:
            for number, line in enumerate(file, start=1):
                yield number, line.rstrip("\n") if columns.is_text(line) else None
    except OSError as error:
        raise LigflowError(f"The corpus {str(path)!r} cannot be read to its end: {error}.") from error


def _plain(lines: Lines, name: str) -> Iterator[Item]:
    """A sentence a line; blank lines are none."""
    number = 0
    for line, text in lines:
        place = f"{name}:{line}"
        if text is None:
            yield BadLine(number, place, columns.NO_TEXT)
        elif text.strip():
            yield Sentence(number, text.strip(), place)
        else:
            continue
        number += 1
