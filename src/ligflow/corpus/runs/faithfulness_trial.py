"""Methods tried on the sentences of a corpus: what they score under every measure of faithfulness.

One file a sentence, so that an interrupted trial goes on where it stopped. (Not the shards of `store`: the
tables there are those of the consistency experiment, and each shard is computed by itself, while here every
sentence needs the means over all of them.)
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas
from jaxtyping import Float
from torch import Tensor

from ligflow.corpus.runs.folders import locked, make_folder
from ligflow.corpus.runs.manifest import TrialFile, check_fields, read_json
from ligflow.corpus.sources.sentence import Sentence
from ligflow.corpus.tables.faithfulness_rows import Trial, of_sentence
from ligflow.errors import LigflowError
from ligflow.explainer.explainer import Explainer
from ligflow.files import atomically, write_text

Shuffled = Callable[[int], Explainer]


def try_methods(
    folder: Path, explainer: Explainer, shuffled: Shuffled, sentences: Sequence[Sentence], trial: Trial,
    progress: Callable[[int, int], None] | None = None,
) -> pandas.DataFrame:  # fmt: skip
    """Every method on every sentence, kept in `folder`; `shuffled(seed)` is a copy with shuffled weights.

    A row a sentence, layer, replacement, kind of players, method and measure: `sum` over `count` targets,
    and `unmet`, the integrals of LIG that miss the tolerance. Raises LigflowError for a folder that holds
    another trial, for layers that are not there, where another process is at work in the folder, and, before
    any work, for a sentence that cannot be explained.
    """
    if not sentences:
        raise LigflowError("The corpus has no sentence; choose others.")
    make_folder(folder)
    with locked(folder):
        return _continued(folder, explainer, shuffled, sentences, trial, progress)


def _continued(
    folder: Path,
    explainer: Explainer,
    shuffled: Shuffled,
    sentences: Sequence[Sentence],
    trial: Trial,
    progress: Callable[[int, int], None] | None,
) -> pandas.DataFrame:
    """What is missing is computed, and all of it read."""
    _same_trial(folder, {"model": explainer.name, "texts": _texts(sentences), **asdict(trial)})
    missing = [number for number, sentence in enumerate(sentences) if not _file(folder, sentence).exists()]
    means = corpus_means(explainer, sentences) if missing else {}
    for count, number in enumerate(missing):
        sentence = sentences[number]
        twin = shuffled(trial.seed + sentence.number) if number < trial.shuffled else None
        rows = of_sentence(explainer, twin, sentence, trial, means)
        _write(pandas.DataFrame(rows), _file(folder, sentence))
        if progress is not None:
            progress(count + 1, len(missing))
    return pandas.concat(
        [pandas.read_parquet(_file(folder, sentence)) for sentence in sentences], ignore_index=True
    )


def described(frame: pandas.DataFrame, trial: Trial) -> str:
    """What was tried, in words."""
    layers = sorted(frame.layer.unique())
    cells = frame.groupby(["sentence", "layer"])["unmet"].first()
    which = f"layer{'s' * (len(layers) > 1)} {', '.join(map(str, layers))}"
    return (
        f"{frame.sentence.nunique()} sentences, {which}; {2 * trial.pairs} orders for each Shapley value, "
        f"curves of {trial.steps} steps, k = {trial.top_k}; "
        f"{int(cells.sum())} integrals of LIG missed the tolerance."
    )


def _texts(sentences: Sequence[Sentence]) -> str:
    """What tells one set of sentences from another."""
    texts = "\0".join(f"{sentence.number}:{sentence.text}" for sentence in sentences)
    return hashlib.sha256(texts.encode()).hexdigest()


def _file(folder: Path, sentence: Sentence) -> Path:
    return folder / f"{sentence.number:06d}.parquet"


def _write(frame: pandas.DataFrame, path: Path) -> None:
    atomically(path, lambda scratch: frame.to_parquet(scratch, index=False))


def _same_trial(folder: Path, wanted: dict[str, Any]) -> None:
    """Writes down what is tried, or refuses a folder with another trial."""
    place = folder / "trial.json"
    if not place.exists():
        write_text(place, json.dumps(wanted, indent=1))
    known, wanted = read_json(place, "description of a trial"), json.loads(json.dumps(wanted))
    check_fields(place, TrialFile, known, "Bring back a copy of the file, or choose another folder.")
    other = [name for name in wanted if known.get(name) != wanted[name]]
    if other:
        said = "; ".join(f"{name} {known.get(name)!r}, not {wanted[name]!r}" for name in other)
        raise LigflowError(f"{str(folder)!r} holds another trial ({said}); choose another folder.")


def corpus_means(explainer: Explainer, sentences: Sequence[Sentence]) -> dict[int, Float[Tensor, " dim"]]:
    """The mean of z over all tokens of the sentences, for every layer."""
    sums: dict[int, Tensor] = {}
    tokens = 0
    for sentence in sentences:
        try:
            layers = explainer.prepared.record(sentence.inputs)
        except LigflowError as error:
            raise LigflowError(
                f"{sentence.place} cannot be tried, choose other sentences: {error}"
            ) from error
        tokens += len(layers[0].hidden)
        for layer in layers:
            sums[layer.index] = sums.get(layer.index, 0) + layer.hidden.double().sum(dim=0)
    return {index: total / tokens for index, total in sums.items()}
