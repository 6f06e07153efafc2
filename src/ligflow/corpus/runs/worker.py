"""What a worker does, in whatever process it runs: load a model once, compute shards of a run."""

import functools
import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ligflow.corpus.runs.prompt_shard import results_of_prompts
from ligflow.corpus.runs.sentence_shard import results_of_sentences
from ligflow.corpus.runs.store import Results, Run, open_run
from ligflow.corpus.runs.twins import Twin, twin_of
from ligflow.corpus.runs.watch import Ticked, counting
from ligflow.corpus.tables.experiment import Experiment
from ligflow.corpus.tables.prompt_settings import PromptSettings
from ligflow.errors import LigflowError, UnsupportedModel
from ligflow.explainer.explainer import Explainer
from ligflow.explainer.head import head_of

_SAMPLE = 65_536  # entries of each weight that the fingerprint takes in
_DTYPES = {"float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True)
class Model:
    """Which model a worker loads, as plain data. `twin` is the copy of it that is loaded in its place.

    `head` says whether it is asked as a whole, with its head, as a run on prompts does.
    """

    name: str | None = None
    revision: str | None = None
    dtype: str = "float32"
    local_files_only: bool = False
    twin: Twin | None = None
    trust_remote_code: bool = False
    head: bool = False


@dataclass(frozen=True)
class Task:
    """What a worker needs to compute the shards of a run."""

    folder: str
    experiment: Experiment | PromptSettings
    batch_size: int | None = None


@dataclass(frozen=True)
class Outcome:
    """A shard that is done: how many of its sentences or prompts were explained, left out; the seconds."""

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
    """The model as the manifest keeps it.

    Raises UnsupportedModel if none of its layers can be split, and for one without a head that is asked with
    its head.
    """
    layers, heads = explainer.prepared.size("One sentence.")
    asked_of = explainer.whole.model if model.head else explainer.model
    if model.head:
        _check_head(explainer)
    elif not heads:
        raise UnsupportedModel(
            f"No layer of {explainer.name!r} can be split at its attention, so that nothing can be composed "
            f"and compared; ligflow check {explainer.name} says why."
        )
    weights = "as loaded" if model.twin is None else model.twin.weights
    return {
        "name": explainer.name,
        "revision": explainer.revision,
        "class": type(asked_of).__name__,
        "dtype": model.dtype,
        "weights": weights,
        "layers": layers,
        "fingerprint": fingerprint(asked_of.state_dict()),
    }


def _check_head(explainer: Explainer) -> None:
    whole = explainer.whole
    if head_of(whole.model).kind == "none":
        why = f" ({whole.headless})" if whole.headless else ""
        raise UnsupportedModel(
            f"{explainer.name!r} has no head that predicts a token or a class{why}, so that there is no "
            "prediction to explain; name a model that continues texts, or a classifier."
        )


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
    """Computes and writes one shard; `ticked` is told how many of its sentences or prompts are done."""
    began, run = time.monotonic(), open_run(task.folder)
    ticked(shard, 0)
    results, explained = _results(explainer, run, task, shard, lambda n, _: ticked(shard, n))
    run.write(shard, results)
    return Outcome(shard, explained, run.size(shard) - explained, time.monotonic() - began)


def _results(
    explainer: Explainer, run: Run, task: Task, shard: int, progress: Callable[[int, int], None]
) -> tuple[Results, int]:
    """The tables of a shard, and how many of its sentences or prompts could be explained."""
    asked_of_each, items = task.experiment, run.items(shard)
    if isinstance(asked_of_each, PromptSettings):
        return results_of_prompts(explainer, items, asked_of_each, task.batch_size, progress)
    return results_of_sentences(explainer, items, asked_of_each, task.batch_size, progress)
