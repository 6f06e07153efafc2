"""A run is a folder: what was asked, the sentences, and a folder for each finished shard.

    manifest.json            model, settings, versions, corpus; written once, last of the plan
    sentences/00000.parquet  the sentences of shard 0, as they were read from the corpus
    shards/00000/            its results: a Parquet file a table, maps.safetensors if asked for, shard.json
    run.log                  what happened when
    twin/                    the same run on a copy of the model with random weights, if asked for

A shard's folder is written under a temporary name and renamed when it is complete, so that a shard is
either there and whole, or not there.
"""

import contextlib
import datetime
import hashlib
import json
import logging
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout
from safetensors.torch import save_file
from torch import Tensor

from ligflow.corpus.run.manifest import Manifest, Sealed, check_fields, read_json
from ligflow.corpus.sources.sentence import Sentence
from ligflow.corpus.tables.schema import CORPUS, TABLES
from ligflow.errors import LigflowError
from ligflow.files import to_disk, write_text

_log = logging.getLogger(__name__)
FORMAT = 1
MAPS = "maps.safetensors"
_INSTEAD = (
    "Bring back a copy of the file, or give the run another folder: without it the shards mean nothing."
)
_REPEATING = {"spearman", "top_k"}


@dataclass(frozen=True)
class Results:
    """What a shard's folder is to hold: the tables, and maps by name."""

    tables: Mapping[str, pa.Table]
    maps: Mapping[str, Tensor] | None = None
    maps_header: str = ""


@dataclass(frozen=True)
class Run:
    """A run's folder and what its manifest says."""

    folder: Path
    manifest: Mapping[str, Any]

    @property
    def shards(self) -> int:
        """How many shards the plan has."""
        return int(self.manifest["shards"])

    @property
    def done(self) -> list[int]:
        """The shards that are there."""
        return [n for n in range(self.shards) if self.place(n).is_dir()]

    @property
    def missing(self) -> list[int]:
        """The shards that are still to be computed."""
        return [n for n in range(self.shards) if not self.place(n).is_dir()]

    @property
    def twin(self) -> "Run | None":
        """The run on random weights, where there is one."""
        folder = self.folder / "twin"
        return open_run(folder) if (folder / "manifest.json").is_file() else None

    def place(self, shard: int) -> Path:
        """The folder of a finished shard."""
        return self.folder / "shards" / f"{shard:05d}"

    def sentences(self, shard: int) -> list[Sentence]:
        """The sentences of a shard, as they were planned."""
        path = self.folder / "sentences" / f"{shard:05d}.parquet"
        return [_sentence(row) for row in _read(path, CORPUS, f"the sentences of shard {shard}").to_pylist()]

    def table(self, shard: int, name: str) -> pa.Table:
        """A table of a finished shard (see `schema`). Raises LigflowError that names a damaged file."""
        return _read(self.file(shard, f"{name}.parquet"), TABLES[name], f"shard {shard}")

    def file(self, shard: int, name: str) -> Path:
        """A file of a finished shard. Raises LigflowError if it is not as it was written."""
        path = self.place(shard) / name
        if (self._digests(shard) or {}).get(name) != (_digest(path) if path.is_file() else ""):
            raise _damaged(path, f"shard {shard}", "it is not as it was written")
        return path

    def write(self, shard: int, results: Results) -> None:
        """A shard's folder, whole or not at all. If it is there already, it stays as it is."""
        place = self.place(shard)
        scratch = place.parent / f".{shard:05d}.{uuid.uuid4().hex}.part"
        try:
            scratch.mkdir(parents=True)
            for name, table in results.tables.items():
                _write_table(table, scratch / f"{name}.parquet")
            if results.maps is not None:
                metadata = {"ligflow": results.maps_header}
                save_file(dict(results.maps), scratch / MAPS, metadata=metadata)
                (scratch / MAPS).chmod((scratch / "sentences.parquet").stat().st_mode & 0o777)  # not 0600
            _seal(scratch)
            _rename(scratch, place)
        except OSError as error:
            raise LigflowError(
                f"Shard {shard} could not be written to {str(self.folder)!r}: {error.strerror or error}. "
                "Finished shards are safe: make room, or mend the folder, and run the same command again."
            ) from error
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def size(self, shard: int) -> int:
        """How many sentences a shard has."""
        size = int(self.manifest["shard_size"])
        return min(size, int(self.manifest["sentences"]) - shard * size)

    def left_out(self, shard: int) -> int:
        """How many sentences of a finished shard could not be explained."""
        reasons = self.table(shard, "sentences")["left_out"]
        return len(reasons) - reasons.null_count

    def damage(self, shard: int, thorough: bool = True) -> str | None:
        """What is wrong with a finished shard: a file is missing or, if `thorough`, not as it was written."""
        digests = self._digests(shard)
        if digests is None:
            return "shard.json cannot be read"
        for name, digest in digests.items():
            path = self.place(shard) / name
            if not path.is_file():
                return f"{name} is missing"
            if thorough and _digest(path) != digest:
                return f"{name} is not as it was written"
        return None

    def _digests(self, shard: int) -> dict[str, str] | None:
        """The digests of a shard's files; None if they cannot be read."""
        try:
            sealed = (self.place(shard) / "shard.json").read_text(encoding="utf-8")
            return Sealed.model_validate_json(sealed).files
        except (OSError, ValueError):
            return None

    def remove(self, shard: int) -> None:
        """Takes a shard away, so that it is computed again."""
        shutil.rmtree(self.place(shard))

    def tidy(self) -> None:
        """Takes away what interrupted writers left."""
        for left in self.folder.glob("shards/.*.part"):
            shutil.rmtree(left, ignore_errors=True)
        for left in self.folder.glob("shards/.*.count"):
            left.unlink(missing_ok=True)

    def log(self, line: str) -> None:
        """A line in run.log, with the time, and at level INFO of the loggers of `ligflow.corpus`.

        The file is written by hand: a FileHandler would keep only what the process's levels let through, and
        print what it cannot write.
        """
        _log.info("%s: %s", self.folder, line)
        now = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
        with (self.folder / "run.log").open("a", encoding="utf-8") as file:
            file.write(f"{now} {line}\n")


def open_run(folder: str | Path) -> Run:
    """A run's folder. Raises LigflowError if it is none, one of a newer format, or a field is wrong."""
    path = Path(folder) / "manifest.json"
    if not path.is_file():
        raise LigflowError(f"{str(folder)!r} holds no run (it has no manifest.json).")
    manifest = read_json(path, "manifest of a run")
    version = manifest.get("format")
    if isinstance(version, int) and version > FORMAT:
        raise LigflowError(
            f"{str(folder)!r} has run format {version}, and this version reads up to {FORMAT}; "
            "upgrade ligflow."
        )
    check_fields(path, Manifest, manifest, _INSTEAD)
    return Run(Path(folder), manifest)


@dataclass(frozen=True)
class Planned:
    """How many sentences were written, in how many shards, and the SHA-256 of all that they hold."""

    sentences: int
    shards: int
    fingerprint: str


def write_sentences(folder: Path, sentences: Iterable[Sentence], shard_size: int) -> Planned:
    """The sentences in shards. Raises LigflowError if there are none, or the folder cannot be written."""
    place, digest = folder / "sentences", Digest()
    count = shards = 0
    try:
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        passing = digest.passing(sentences)
        while some := list(islice(passing, shard_size)):
            rows = pa.Table.from_pylist([_row(one) for one in some], schema=CORPUS)
            _write_table(rows, place / f"{shards:05d}.parquet")
            count, shards = count + len(some), shards + 1
    except OSError as error:
        raise LigflowError(f"Cannot write to {str(folder)!r}: {error.strerror or error}.") from error
    except UnicodeEncodeError as error:
        raise LigflowError(f"A sentence of the corpus is no text that can be written: {error}.") from error
    if not count:
        raise LigflowError("The corpus has no sentences, or none in the part that was chosen.")
    return Planned(count, shards, digest.hexdigest())


def begin(folder: Path, manifest: Mapping[str, Any]) -> Run:
    """Writes the manifest: from now on the folder is a run."""
    whole = {"format": FORMAT, **manifest}
    try:
        write_text(folder / "manifest.json", json.dumps(whole, indent=2, ensure_ascii=False) + "\n")
    except OSError as error:
        raise LigflowError(f"Cannot write to {str(folder)!r}: {error.strerror or error}.") from error
    return open_run(folder)


class Digest:
    """SHA-256 of all that sentences hold, in order."""

    def __init__(self) -> None:
        self._sha = hashlib.sha256()

    def passing(self, sentences: Iterable[Sentence]) -> Iterator[Sentence]:
        """The sentences, each taken into the digest as it passes."""
        for one in sentences:
            what = (one.number, one.text, one.spans, one.heads, one.relations)
            self._sha.update(repr(what).encode("utf-8", "surrogatepass"))
            yield one

    def hexdigest(self) -> str:
        """The digest of what has passed."""
        return self._sha.hexdigest()


def make_folder(folder: Path) -> None:
    """The folder, if it is not there. Raises LigflowError where it cannot be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LigflowError(f"Cannot make the folder {str(folder)!r}: {error.strerror or error}.") from error


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keeps other runs out of a folder. The system lets go of the lock when the process ends, however."""
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise LigflowError(
            f"Another run is at work in {str(folder)!r}; wait for it, or give this one a folder of its own."
        ) from error
    except OSError as error:
        raise LigflowError(f"Cannot write to {str(folder)!r}: {error.strerror or error}.") from error
    try:
        yield
    finally:
        lock.release()


def _row(one: Sentence) -> dict[str, Any]:
    spans = None if one.spans is None else [edge for span in one.spans for edge in span]
    return {
        "sentence": one.number, "text": one.text, "place": one.place, "spans": spans,
        "heads": one.heads, "relations": one.relations,
    }  # fmt: skip


def _sentence(row: Mapping[str, Any]) -> Sentence:
    edges = row["spans"]
    spans = None if edges is None else tuple(zip(edges[::2], edges[1::2], strict=True))
    heads, relations = (None if row[name] is None else tuple(row[name]) for name in ("heads", "relations"))
    return Sentence(row["sentence"], row["text"], row["place"], spans, heads, relations)


def _write_table(table: pa.Table, path: Path) -> None:
    """Names and ranks repeat, so they are kept as dictionaries; other floats do not."""
    floats = {field.name for field in table.schema if pa.types.is_floating(field.type)} - _REPEATING
    names = [name for name in table.column_names if name not in floats]
    pq.write_table(
        table, path, compression="zstd", write_page_checksum=True,
        use_dictionary=names, use_byte_stream_split=sorted(floats),
    )  # fmt: skip


def _read(path: Path, schema: pa.Schema, what: str) -> pa.Table:
    try:
        table = pq.ParquetFile(path, page_checksum_verification=True).read()
    except (OSError, pa.ArrowException) as error:
        raise _damaged(path, what, str(error)) from error
    if table.schema.names != schema.names:
        raise LigflowError(f"{str(path)!r} is not a table of this version: its columns are different.")
    return table


def _rename(scratch: Path, place: Path) -> None:
    """A shard that another worker has written meanwhile stays: both hold the same."""
    try:
        scratch.rename(place)
    except OSError:
        if not place.is_dir():
            raise


def _damaged(path: Path, what: str, reason: str) -> LigflowError:
    return LigflowError(
        f"{str(path)!r} ({what}) is damaged or missing: {reason}. Compute it again: the same "
        "`ligflow corpus run` with --redo-damaged."
    )


def _seal(folder: Path) -> None:
    """Digests of all files, written beside them; all of it on the disk before the folder is renamed."""
    files = {path.name: _digest(path) for path in sorted(folder.iterdir())}
    (folder / "shard.json").write_text(json.dumps({"files": files}, indent=2), encoding="utf-8")
    for path in (*folder.iterdir(), folder):
        to_disk(path)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
