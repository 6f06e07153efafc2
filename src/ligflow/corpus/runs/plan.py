"""The plan of a run: written once, and recognised when the run goes on."""

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy
import pyarrow
import pyarrow as pa
import torch
import transformers

from ligflow._version import __version__
from ligflow.corpus.runs.engines import Workers
from ligflow.corpus.runs.folders import make_folder
from ligflow.corpus.runs.shard_files import write_table
from ligflow.corpus.runs.store import FORMAT, Run, open_run
from ligflow.corpus.runs.worker import Model
from ligflow.corpus.sources.corpus import Corpus
from ligflow.corpus.sources.prompt import Prompt
from ligflow.corpus.sources.sentence import Sentence
from ligflow.corpus.tables.experiment import Experiment
from ligflow.corpus.tables.kinds import CONSISTENCY, KINDS, Kind
from ligflow.corpus.tables.prompt_settings import PromptSettings
from ligflow.errors import LigflowError, RunWarning, warn
from ligflow.files import write_text

_LISTED = 100  # bad lines that the manifest names; all are counted


@dataclass(frozen=True)
class Plan:
    """All that decides what a run computes."""

    corpus: Corpus[Any]
    model: Model
    experiment: Experiment | PromptSettings
    shard_size: int
    batch_size: int | None


def planned(folder: Path, work: Plan) -> dict[str, Any]:
    """The manifest but for the model, which is loaded last. Raises LigflowError for another run's folder."""
    there = (folder / "manifest.json").is_file()
    written = open_run(folder).manifest if there else {}
    kind = work.experiment.kind
    plan: dict[str, Any] = {
        "ligflow": __version__,
        "kind": kind,
        "settings": work.experiment.describe(),
        "corpus": dict(work.corpus.about),
        "shard_size": work.shard_size,
    }
    if there:
        known = {name: written.get(name) for name in plan}
        known["kind"] = written.get("kind", CONSISTENCY)  # which old runs do not name
        known["corpus"] = {name: written["corpus"].get(name) for name in plan["corpus"]}
        _refuse_other(folder, known, plan)
        _check_corpus(folder, work.corpus, written)
        return dict(written) | {"versions": _versions()}
    make_folder(folder)
    written_items = write_items(folder, work.corpus.read(), work.shard_size, KINDS[kind])
    plan["corpus"] |= {
        "fingerprint": written_items.fingerprint,
        "bad_lines": len(work.corpus.bad),
        "left_out_lines": [f"{bad.place}: {bad.problem}" for bad in work.corpus.bad[:_LISTED]],
        "file": _stamp(work.corpus.file),
    }
    return plan | {
        "sentences": written_items.count, "shards": written_items.shards, "versions": _versions()
    }  # fmt: skip


def begun(folder: Path, manifest: Mapping[str, Any], workers: Workers) -> Run:
    """The run, whose workers have the model that the manifest names."""
    model = workers.describe()
    _check_layers(manifest["settings"].get("layers"), model["layers"])
    if not (folder / "manifest.json").is_file():
        run = begin(folder, dict(manifest) | {"model": model})
        run.log(f"begun: {run.manifest['sentences']} {run.kind.items} in {run.shards} shards")
        return run
    run = open_run(folder)
    _refuse_other(folder, {"model": run.manifest["model"]}, {"model": model})
    _note_versions(run, manifest["versions"])
    return run


def _check_layers(layers: list[int] | None, count: int) -> None:
    for index in layers or ():
        if not -count <= index < count:
            raise LigflowError(f"There is no layer {index}: there are {count}, numbered 0 to {count - 1}.")


def _refuse_other(folder: Path, known: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raises LigflowError that shows each difference."""
    before, now = _flat(known), _flat(wanted)
    differences = [
        f"  {name}: {before.get(name)!r} there, {now.get(name)!r} asked"
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    ]
    if differences:
        raise LigflowError(
            f"{str(folder)!r} holds a run with other settings:\n" + "\n".join(differences) + "\n"
            "Continue it with its own settings, or give this run another folder."
        )


def _flat(data: Mapping[str, Any], start: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in data.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{start}{name}.")
        else:
            flat[f"{start}{name}"] = list(value) if isinstance(value, tuple) else value
    return flat


def _check_corpus(folder: Path, corpus: Corpus[Any], manifest: Mapping[str, Any]) -> None:
    """Raises LigflowError if the corpus is not as it was; a file that was not touched is not read again."""
    known = manifest["corpus"]
    if known.get("file") is not None and known["file"] == _stamp(corpus.file):
        return
    digest = Digest()
    for _ in digest.passing(corpus.read()):
        pass
    if digest.hexdigest() != known["fingerprint"]:
        items = KINDS[manifest.get("kind", CONSISTENCY)].items
        raise LigflowError(
            f"The corpus is not the one that the run in {str(folder)!r} was begun with: its {items} have "
            "changed. Give this run another folder, or bring the old corpus back."
        )


def _stamp(file: Path | None) -> list[int] | None:
    """Size and time of the last change of a file."""
    if file is None:
        return None
    status = file.stat()
    return [status.st_size, status.st_mtime_ns]


def _versions() -> dict[str, str]:
    return {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "numpy": numpy.__version__,
        "pyarrow": pyarrow.__version__,
    }


def _note_versions(run: Run, now: Mapping[str, str]) -> None:
    changed = {name: there for name, there in run.manifest["versions"].items() if now.get(name) != there}
    if changed:
        words = ", ".join(f"{name} {there}, now {now.get(name)}" for name, there in changed.items())
        run.log(f"versions differ: begun with {words}")
        warn(f"This run was begun with {words}: its shards may differ by rounding.", RunWarning)


@dataclass(frozen=True)
class WrittenItems:
    """How many sentences or prompts were written, in how many shards, and the SHA-256 of what they hold."""

    count: int
    shards: int
    fingerprint: str


def write_items(
    folder: Path, items: Iterable[Sentence | Prompt], shard_size: int, kind: Kind
) -> WrittenItems:
    """The items in shards. Raises LigflowError if there are none, or the folder cannot be written."""
    place, digest = folder / kind.items, Digest()
    count = shards = 0
    try:
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        passing = digest.passing(items)
        while batch := list(islice(passing, shard_size)):
            rows = pa.Table.from_pylist([kind.row_of(item) for item in batch], schema=kind.corpus)
            write_table(rows, place / f"{shards:05d}.parquet")
            count, shards = count + len(batch), shards + 1
    except OSError as error:
        raise LigflowError(f"Cannot write to {str(folder)!r}: {error.strerror or error}.") from error
    except UnicodeEncodeError as error:
        raise LigflowError(
            f"One of the {kind.items} of the corpus is no text that can be written: {error}."
        ) from error
    if not count:
        raise LigflowError(f"The corpus has no {kind.items}, or none in the part that was chosen.")
    return WrittenItems(count, shards, digest.hexdigest())


def begin(folder: Path, manifest: Mapping[str, Any]) -> Run:
    """Writes the manifest: from now on the folder is a run."""
    whole = {"format": FORMAT, **manifest}
    try:
        write_text(folder / "manifest.json", json.dumps(whole, indent=2, ensure_ascii=False) + "\n")
    except OSError as error:
        raise LigflowError(f"Cannot write to {str(folder)!r}: {error.strerror or error}.") from error
    return open_run(folder)


class Digest:
    """SHA-256 of all that sentences or prompts hold, in order."""

    def __init__(self) -> None:
        self._sha = hashlib.sha256()

    def passing(self, items: Iterable[Sentence | Prompt]) -> Iterator[Sentence | Prompt]:
        """The items, each taken into the digest as it passes."""
        for item in items:
            self._sha.update(repr(item.content).encode("utf-8", "surrogatepass"))
            yield item

    def hexdigest(self) -> str:
        """The digest of what has passed."""
        return self._sha.hexdigest()
