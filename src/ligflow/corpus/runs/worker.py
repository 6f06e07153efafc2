"""What a worker does, in whatever process it runs: load a model once, compute shards of a run."""

import functools
import hashlib
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import torch
from torch import Tensor

from ligflow.corpus.runs.kept_maps import header_of, tensors_of
from ligflow.corpus.runs.store import Results, open_run
from ligflow.corpus.runs.twins import Twin, twin_of
from ligflow.corpus.runs.watch import Ticked, counting
from ligflow.corpus.sources.sentence import Sentence
from ligflow.corpus.tables.certificates import certify
from ligflow.corpus.tables.comparisons import compare
from ligflow.corpus.tables.experiment import Experiment, named
from ligflow.corpus.tables.schema import CELLS, METRIC_ROWS, SENTENCES
from ligflow.errors import CompletenessWarning, LigflowError, UnsupportedModel
from ligflow.explainer.explainer import Explainer
from ligflow.flow import Flow
from ligflow.progress import Progress

_SAMPLE = 65_536  # entries of each weight that the fingerprint takes in
_DTYPES = {"float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True)
class Model:
    """Which model a worker loads, as plain data. `twin` is the copy of it that is loaded in its place."""

    name: str | None = None
    revision: str | None = None
    dtype: str = "float32"
    local_files_only: bool = False
    twin: Twin | None = None
    trust_remote_code: bool = False


@dataclass(frozen=True)
class Task:
    """What a worker needs to compute the shards of a run."""

    folder: str
    experiment: Experiment
    batch_size: int | None = None


@dataclass(frozen=True)
class Outcome:
    """A shard that is done: how many of its sentences were explained and left out, and the seconds."""

    shard: int
    explained: int
    left_out: int
    seconds: float


@functools.lru_cache(maxsize=1)
def loaded(model: Model, device: str | None = None, threads: int | None = None) -> Explainer:
    """The explainer of this process; loaded once."""
    if threads is not None:
        torch.set_num_threads(threads)
    if model.dtype not in _DTYPES:
        raise LigflowError(f"dtype is {model.dtype!r}; choose from {', '.join(_DTYPES)}.")
    options: dict[str, Any] = {
        "local_files_only": model.local_files_only, "trust_remote_code": model.trust_remote_code,
    }  # fmt: skip
    options |= {"revision": model.revision} if model.revision else {}
    explainer = Explainer.from_pretrained(model.name, device, _DTYPES[model.dtype], **options)
    return explainer if model.twin is None else twin_of(explainer, model.twin)


def describe(explainer: Explainer, model: Model) -> dict[str, Any]:
    """The model as the manifest keeps it. Raises UnsupportedModel if none of its layers can be split."""
    layers, heads = explainer.prepared.size("One sentence.")
    if not heads:
        raise UnsupportedModel(
            f"No layer of {explainer.name!r} can be split at its attention, so that nothing can be composed "
            f"and compared; ligflow check {explainer.name} says why."
        )
    weights = "as loaded" if model.twin is None else model.twin.weights
    return {
        "name": explainer.name,
        "revision": explainer.revision,
        "class": type(explainer.model).__name__,
        "dtype": model.dtype,
        "weights": weights,
        "layers": layers,
        "fingerprint": fingerprint(explainer.model.state_dict()),
    }


def fingerprint(weights: Mapping[str, Tensor]) -> str:
    """SHA-256 of the names, shapes and (of large weights, evenly spread) entries."""
    digest = hashlib.sha256()
    for name, weight in sorted(weights.items()):
        step = max(1, weight.numel() // _SAMPLE)
        entries = weight.detach().flatten()[::step].float().cpu().contiguous()
        digest.update(f"{name}{list(weight.shape)}".encode())
        digest.update(entries.numpy().tobytes())
    return digest.hexdigest()


def compute_shard_apart(explainer: Explainer, task: Task, shard: int) -> Outcome:
    """The same in a process of its own, whose run reads how far it is from a file (see `watch`)."""
    with counting(task.folder, shard) as ticked:
        return compute_shard(explainer, task, shard, ticked)


def compute_shard(explainer: Explainer, task: Task, shard: int, ticked: Ticked) -> Outcome:
    """Computes and writes one shard; `ticked` is told how many of its sentences are done."""
    began, run = time.monotonic(), open_run(task.folder)
    ticked(shard, 0)
    results, explained = results_of(explainer, run.sentences(shard), task, lambda n, _: ticked(shard, n))
    run.write(shard, results)
    left_out = results.tables["sentences"].num_rows - explained
    return Outcome(shard, explained, left_out, time.monotonic() - began)


def results_of(
    explainer: Explainer, sentences: list[Sentence], task: Task, progress: Progress = False
) -> tuple[Results, int]:
    """The tables of some sentences, and how many of them could be explained."""
    experiment, reasons = task.experiment, {}
    flows: dict[int, list[Flow]] = {}

    def left_out(place: int, _: object, error: LigflowError) -> None:
        reasons[place] = str(error)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CompletenessWarning)  # every cell is in the tables
        explained = explainer.explain_many_under(
            [sentence.inputs for sentence in sentences], experiment.variants, layers=experiment.layers,
            batch_size=task.batch_size, progress=progress, left_out=left_out,
        )  # fmt: skip
        for flow in explained:
            flows[flow[0].meta["index"]] = flow
    metrics, cells = [METRIC_ROWS.empty_table()], [CELLS.empty_table()]
    for place, parts in sorted(flows.items()):
        sentence = sentences[place]
        attention = explainer.attention(sentence.inputs, layers=list(parts[0].layers))
        metrics.append(compare(sentence.number, named(parts), attention, experiment))
        cells.append(certify(sentence.number, named(parts)))
    tables = {
        "sentences": _sentences(sentences, flows, reasons),
        "metrics": pa.concat_tables(metrics).unify_dictionaries(),
        "cells": pa.concat_tables(cells).unify_dictionaries(),
    }
    if not experiment.maps:
        return Results(tables), len(flows)
    kept = {sentences[place].number: named(parts) for place, parts in flows.items()}
    return Results(tables, tensors_of(kept), header_of(kept)), len(flows)


def _sentences(
    sentences: list[Sentence], flows: Mapping[int, list[Flow]], reasons: Mapping[int, str]
) -> pa.Table:
    rows = [
        {
            "sentence": sentence.number,
            "place": sentence.place,
            "tokens": len(flows[place][0].tokens) if place in flows else None,
            "left_out": reasons.get(place),
        }
        for place, sentence in enumerate(sentences)
    ]
    return pa.Table.from_pylist(rows, schema=SENTENCES)
