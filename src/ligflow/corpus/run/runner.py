"""A run: planned once, and continued until every shard is there, whatever interrupts it."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy
import pyarrow
import torch
import transformers

from ligflow._version import __version__
from ligflow.corpus.run.engines import Engine, Workers, here
from ligflow.corpus.run.interrupt import Interrupt
from ligflow.corpus.run.progress import LOADING, READING, Meter, Told
from ligflow.corpus.run.store import Digest, Run, begin, locked, make_folder, open_run, write_sentences
from ligflow.corpus.run.watch import Watch
from ligflow.corpus.run.worker import Model, Outcome, Task
from ligflow.corpus.sources.corpus import Corpus
from ligflow.corpus.sources.sentence import Sentence
from ligflow.corpus.tables.experiment import Experiment
from ligflow.errors import LigflowError, RunWarning, warn

_LISTED = 100  # bad lines that the manifest names; all are counted


@dataclass(frozen=True)
class _Work:
    """All that decides what a run computes."""

    corpus: Corpus
    model: Model
    experiment: Experiment
    shard_size: int
    batch_size: int | None


def run(
    folder: str | Path,
    corpus: Corpus,
    model: Model | None = None,
    experiment: Experiment | None = None,
    *,
    engine: Engine | None = None,
    twin: bool = False,
    shard_size: int = 32,
    batch_size: int | None = None,
    redo_damaged: bool = False,
    told: Told | None = None,
) -> Run:
    """Computes what is missing of a run in `folder`, which is made if it is not there.

    `engine` computes the shards of `shard_size` sentences (by default this process); `batch_size`
    sentences go through a layer together. With `twin` the same is then done for a copy of the model with
    random weights, in `folder/twin`. `told` hears where the run stands whenever that changes. Ctrl-C lets
    the shards at work finish: `missing` of the result then says what is left, and the same call goes on with
    it. A second one raises KeyboardInterrupt, and leaves nothing that is half written.

    Raises LigflowError if the folder belongs to a run with other settings (and shows the difference), if
    another run is at work in it, if a finished shard is damaged (unless `redo_damaged`), and for what is
    wrong with corpus, settings or model.
    """
    _check_size("shard_size", shard_size)
    _check_size("batch_size", 1 if batch_size is None else batch_size)
    work = _Work(corpus, model or Model(), experiment or Experiment(), shard_size, batch_size)
    folder, engine = Path(folder), engine or here()
    make_folder(folder)
    with ExitStack() as stack:
        stack.enter_context(locked(folder))
        interrupt = stack.enter_context(Interrupt())
        whole = _carry_on(folder, work, engine, interrupt, redo_damaged, Meter("model", told))
        if twin and not whole.missing:
            other = _twin_of(whole, work)
            _carry_on(folder / "twin", other, engine, interrupt, redo_damaged, Meter("twin", told))
        return whole


def _check_size(name: str, size: int) -> None:
    if size < 1:
        raise LigflowError(f"{name} is {size}; give a whole number of sentences from 1.")


def _twin_of(whole: Run, work: _Work) -> _Work:
    """The same sentences, as they were planned, on random weights."""

    def read() -> Iterator[Sentence]:
        for shard in range(whole.shards):
            yield from whole.sentences(shard)

    corpus = Corpus(read, work.corpus.about)
    return replace(work, corpus=corpus, model=replace(work.model, random_weights=work.experiment.seed))


def _carry_on(
    folder: Path,
    work: _Work,
    engine: Engine,
    interrupt: Interrupt,
    redo_damaged: bool,
    meter: Meter,
) -> Run:
    """Plans the run or recognises it, then computes what is missing."""
    interrupt.answer = meter.answer
    watch = Watch(interrupt.asked, meter.ticked, meter.lost, lambda what: meter.say(note=f"waits for {what}"))
    meter.say(READING)
    manifest = _planned(folder, work)
    meter.say(LOADING)
    with ExitStack() as stack:
        workers = stack.enter_context(engine(work.model, watch))
        found = _begun(folder, manifest, workers)
        _check_shards(found, redo_damaged)
        found.tidy()
        stack.push(lambda *_: found.tidy())  # when workers have ended, however
        _compute(found, work, workers, meter)
    return found


def _planned(folder: Path, work: _Work) -> dict[str, Any]:
    """The manifest but for the model, which is loaded last. Raises LigflowError for another run's folder."""
    there = (folder / "manifest.json").is_file()
    found = open_run(folder).manifest if there else {}
    asked: dict[str, Any] = {
        "ligflow": __version__,
        "settings": work.experiment.describe(),
        "corpus": dict(work.corpus.about),
        "shard_size": work.shard_size,
    }
    if there:
        known = {name: found.get(name) for name in asked}
        known["corpus"] = {name: found["corpus"].get(name) for name in asked["corpus"]}
        _refuse_other(folder, known, asked)
        _check_corpus(folder, work.corpus, found)
        return dict(found) | {"versions": _versions()}
    make_folder(folder)
    planned = write_sentences(folder, work.corpus.read(), work.shard_size)
    asked["corpus"] |= {
        "fingerprint": planned.fingerprint,
        "bad_lines": len(work.corpus.bad),
        "left_out_lines": [f"{bad.place}: {bad.problem}" for bad in work.corpus.bad[:_LISTED]],
        "file": _stamp(work.corpus.file),
    }
    return asked | {"sentences": planned.sentences, "shards": planned.shards, "versions": _versions()}


def _begun(folder: Path, manifest: Mapping[str, Any], workers: Workers) -> Run:
    """The run, whose workers have the model that the manifest names."""
    model = workers.describe()
    _check_layers(manifest["settings"]["layers"], model["layers"])
    if not (folder / "manifest.json").is_file():
        found = begin(folder, dict(manifest) | {"model": model})
        found.log(f"begun: {found.manifest['sentences']} sentences in {found.shards} shards")
        return found
    found = open_run(folder)
    _refuse_other(folder, {"model": found.manifest["model"]}, {"model": model})
    _note_versions(found, manifest["versions"])
    return found


def _check_layers(layers: list[int] | None, count: int) -> None:
    for index in layers or ():
        if not -count <= index < count:
            raise LigflowError(f"There is no layer {index}: there are {count}, numbered 0 to {count - 1}.")


def _refuse_other(folder: Path, known: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """Raises LigflowError that shows each difference."""
    before, now = _flat(known), _flat(asked)
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
    found: dict[str, Any] = {}
    for name, value in data.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{start}{name}.")
        else:
            found[f"{start}{name}"] = list(value) if isinstance(value, tuple) else value
    return found


def _check_corpus(folder: Path, corpus: Corpus, manifest: Mapping[str, Any]) -> None:
    """Raises LigflowError if the corpus is not as it was; a file that was not touched is not read again."""
    known = manifest["corpus"]
    if known.get("file") is not None and known["file"] == _stamp(corpus.file):
        return
    digest = Digest()
    for _ in digest.passing(corpus.read()):
        pass
    if digest.hexdigest() != known["fingerprint"]:
        raise LigflowError(
            f"The corpus is not the one that the run in {str(folder)!r} was begun with: its sentences have "
            "changed. Give this run another folder, or bring the old corpus back."
        )


def _stamp(file: Path | None) -> list[int] | None:
    """Size and time of the last change of a file."""
    if file is None:
        return None
    found = file.stat()
    return [found.st_size, found.st_mtime_ns]


def _versions() -> dict[str, str]:
    return {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "numpy": numpy.__version__,
        "pyarrow": pyarrow.__version__,
    }


def _note_versions(found: Run, now: Mapping[str, str]) -> None:
    changed = {name: there for name, there in found.manifest["versions"].items() if now.get(name) != there}
    if changed:
        words = ", ".join(f"{name} {there}, now {now.get(name)}" for name, there in changed.items())
        found.log(f"versions differ: begun with {words}")
        warn(f"This run was begun with {words}: its shards may differ by rounding.", RunWarning)


def _check_shards(found: Run, redo_damaged: bool) -> None:
    """Raises LigflowError that names a damaged shard; with `redo_damaged` it is removed instead."""
    for shard in found.done:
        damage = found.damage(shard, thorough=redo_damaged)
        if damage and not redo_damaged:
            raise LigflowError(
                f"Shard {shard} of {str(found.folder)!r} is damaged: {damage}. Compute it again with "
                "--redo-damaged (redo_damaged=True)."
            )
        if damage:
            found.log(f"shard {shard} is damaged ({damage}) and computed again")
            found.remove(shard)


def _compute(found: Run, work: _Work, workers: Workers, meter: Meter) -> None:
    missing = found.missing
    found.log(f"{len(missing)} of {found.shards} shards to compute")
    meter.begin(found)
    task = Task(str(found.folder.absolute()), work.experiment, work.batch_size)
    for outcome in workers.shards(task, missing):
        _check_there(found, outcome)
        found.log(
            f"shard {outcome.shard}: {outcome.explained} sentences explained, {outcome.left_out} left out, "
            f"{outcome.seconds:.1f} s"
        )
        meter.finished(outcome.shard)
    found.log(f"stopped, {len(found.missing)} shards are missing" if found.missing else "complete")


def _check_there(found: Run, outcome: Outcome) -> None:
    if not found.place(outcome.shard).is_dir():
        raise LigflowError(
            f"Shard {outcome.shard} is not in {str(found.folder)!r}: its worker wrote to a disk of its own. "
            "Put the run's folder on storage that all workers share."
        )
