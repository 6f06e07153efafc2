"""The files of a shard: tables, their digests, and a folder that is there whole or not at all."""

import hashlib
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ligflow.errors import LigflowError
from ligflow.files import to_disk

_REPEATING = {"spearman", "top_k"}


def write_table(table: pa.Table, path: Path) -> None:
    """Names and ranks repeat, so they are kept as dictionaries; other floats do not."""
    floats = {field.name for field in table.schema if pa.types.is_floating(field.type)} - _REPEATING
    names = [name for name in table.column_names if name not in floats]
    pq.write_table(
        table, path, compression="zstd", write_page_checksum=True,
        use_dictionary=names, use_byte_stream_split=sorted(floats),
    )  # fmt: skip


def read_table(path: Path, schema: pa.Schema, what: str) -> pa.Table:
    """A table of a known schema. Raises LigflowError that names a damaged file, or one of other columns."""
    try:
        table = pq.ParquetFile(path, page_checksum_verification=True).read()
    except (OSError, pa.ArrowException) as error:
        raise damaged(path, what, str(error)) from error
    other = f"{str(path)!r} is not a table of this version: its columns are different."
    if table.schema.names != schema.names:
        raise LigflowError(other)
    if table.schema.equals(schema):
        return table
    try:
        return table.cast(schema)  # pyarrow 18 reads the indices of a dictionary column as int32
    except pa.ArrowException as error:
        raise LigflowError(other) from error


def rename(scratch: Path, place: Path) -> None:
    """A shard that another worker has written meanwhile stays: both hold the same."""
    try:
        scratch.rename(place)
    except OSError:
        if not place.is_dir():
            raise


def damaged(path: Path, what: str, reason: str) -> LigflowError:
    """The error about a file that is not as it was written."""
    return LigflowError(
        f"{str(path)!r} ({what}) is damaged or missing: {reason}. Compute it again: the same "
        "`ligflow corpus run` with --redo-damaged."
    )


def seal(folder: Path) -> None:
    """Digests of all files, written beside them; all of it on the disk before the folder is renamed."""
    files = {path.name: digest_of(path) for path in sorted(folder.iterdir())}
    (folder / "shard.json").write_text(json.dumps({"files": files}, indent=2), encoding="utf-8")
    for path in (*folder.iterdir(), folder):
        to_disk(path)


def digest_of(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
