"""A run is a folder: what was asked, the sentences, and a folder for each finished shard.

    manifest.json            model, settings, versions, corpus; written once, last of the plan
    sentences/00000.parquet  the sentences of shard 0, as they were read from the corpus (or prompts/)
    shards/00000/            its results: a Parquet file a table, maps.safetensors if asked for, shard.json
    run.log                  what happened when
    twins/permuted-0/        the same run on a copy of the model that has learnt nothing (see `twins`)

A shard's folder is written under a temporary name and renamed when it is complete, so that a shard is
either there and whole, or not there.
"""

import datetime
import json
import logging
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from safetensors.torch import save_file
from torch import Tensor

from ligflow.corpus.runs.manifest import MANIFESTS, Sealed, check_fields, read_json
from ligflow.corpus.runs.shard_files import damaged, digest_of, read_table, rename, seal, write_table
from ligflow.corpus.sources.sentence import Sentence
from ligflow.corpus.tables.kinds import CONSISTENCY, KINDS, Kind
from ligflow.errors import LigflowError
from ligflow.names import TWINS
from ligflow.results.flow_header import wrong_field

_log = logging.getLogger(__name__)
FORMAT = 2
MAPS = "maps.safetensors"
_INSTEAD = (
    "Bring back a copy of the file, or give the run another folder: without it the shards mean nothing."
)


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
    def twins(self) -> dict[str, list["Run"]]:
        """The runs on copies that have learnt nothing, by kind of weights (`TWINS`) in the order of seeds."""
        by_kind: dict[str, list[Run]] = {}
        for name, kind in TWINS.items():
            places = {
                _seed(path.parent): path.parent for path in self.folder.glob(f"twins/{name}-*/manifest.json")
            }
            if places:
                by_kind[kind] = [open_run(places[seed]) for seed in sorted(places)]
        return by_kind

    def place(self, shard: int) -> Path:
        """The folder of a finished shard."""
        return self.folder / "shards" / f"{shard:05d}"

    @property
    def kind(self) -> Kind:
        """What its corpus holds, and which tables it has."""
        return KINDS[self.manifest.get("kind", CONSISTENCY)]

    def items(self, shard: int) -> list[Any]:
        """The sentences, or prompts, of a shard, as they were planned."""
        kind = self.kind
        path = self.folder / kind.items / f"{shard:05d}.parquet"
        rows = read_table(path, kind.corpus, f"the {kind.items} of shard {shard}").to_pylist()
        return [kind.item_of(row) for row in rows]

    def sentences(self, shard: int) -> list[Sentence]:
        """The sentences of a shard. Raises LigflowError for a run on prompts."""
        self.check_kind(CONSISTENCY)
        return self.items(shard)

    def check_kind(self, name: str) -> None:
        """Raises LigflowError for a run of another kind than the one that is expected."""
        if self.kind is not KINDS[name]:
            raise LigflowError(
                f"{str(self.folder)!r} holds a run on {self.kind.items}, and one on {KINDS[name].items} is "
                "expected."
            )

    def table(self, shard: int, name: str) -> pa.Table:
        """A table of a finished shard (see `kinds`). Raises LigflowError that names a damaged file."""
        return read_table(self.file(shard, f"{name}.parquet"), self.kind.tables[name], f"shard {shard}")

    def file(self, shard: int, name: str) -> Path:
        """A file of a finished shard. Raises LigflowError if it is not as it was written."""
        path, (digests, problem) = self.place(shard) / name, self._sealed(shard)
        if problem:
            raise damaged(path.with_name("shard.json"), f"shard {shard}", problem)
        if digests.get(name) != (digest_of(path) if path.is_file() else ""):
            raise damaged(path, f"shard {shard}", "it is not as it was written")
        return path

    def write(self, shard: int, results: Results) -> None:
        """A shard's folder, whole or not at all. If it is there already, it stays as it is."""
        place = self.place(shard)
        scratch = place.parent / f".{shard:05d}.{uuid.uuid4().hex}.part"
        try:
            scratch.mkdir(parents=True)
            for name, table in results.tables.items():
                write_table(table, scratch / f"{name}.parquet")
            if results.maps is not None:
                metadata = {"ligflow": results.maps_header}
                save_file(dict(results.maps), scratch / MAPS, metadata=metadata)
                (scratch / MAPS).chmod((scratch / "sentences.parquet").stat().st_mode & 0o777)  # not 0600
            seal(scratch)
            rename(scratch, place)
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
        reasons = self.table(shard, self.kind.items)["left_out"]
        return len(reasons) - reasons.null_count

    def damage(self, shard: int, thorough: bool = True) -> str | None:
        """What is wrong with a finished shard: a file is missing or, if `thorough`, not as it was written."""
        digests, problem = self._sealed(shard)
        if problem:
            return f"shard.json: {problem}"
        for name, digest in digests.items():
            path = self.place(shard) / name
            if not path.is_file():
                return f"{name} is missing"
            if thorough and digest_of(path) != digest:
                return f"{name} is not as it was written"
        return None

    def _sealed(self, shard: int) -> tuple[dict[str, str], str]:
        """The digests of a shard's files; or what is wrong with the file that holds them."""
        try:
            data = json.loads((self.place(shard) / "shard.json").read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            return {}, f"it cannot be read ({error})"
        problem = wrong_field(Sealed, data)
        if not problem and (missing := {f"{name}.parquet" for name in self.kind.tables} - {*data["files"]}):
            problem = f"files: lacks {', '.join(sorted(missing))}"
        return ({}, problem) if problem else (data["files"], "")

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


def _seed(folder: Path) -> int:
    """The seed that a twin's folder is named after. Raises LigflowError where it is none."""
    seed = folder.name.rpartition("-")[2]
    if not seed.isdecimal():
        raise LigflowError(f"{str(folder)!r} is no folder of a twin: {seed!r} is no seed; take it elsewhere.")
    return int(seed)


def open_run(folder: str | Path) -> Run:
    """A run's folder. Raises LigflowError if it is none, one of another format, or a field is wrong."""
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
    if version == 1:
        raise LigflowError(
            f"{str(folder)!r} has run format 1, which compared other pairs of baselines in other tables; "
            "give the run another folder, where it is computed anew."
        )
    kind = manifest.get("kind", CONSISTENCY)
    if kind not in MANIFESTS:
        raise LigflowError(
            f"{str(folder)!r} holds a run of the kind {kind!r}, which this version does not know; upgrade "
            "ligflow."
        )
    check_fields(path, MANIFESTS[kind], manifest, _INSTEAD)
    return Run(Path(folder), manifest)
