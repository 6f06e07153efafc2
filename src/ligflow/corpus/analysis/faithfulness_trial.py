"""Methods tried on the sentences of a corpus: what they score under every measure of faithfulness.

One file a sentence, so that an interrupted trial goes on where it stopped. (Not the shards of `store`: the
tables there are those of the consistency experiment, and each shard is computed by itself, while here every
sentence needs the means over all of them.)
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ligflow.corpus.run.manifest import Tried, check_fields, read_json
from ligflow.corpus.run.store import locked, make_folder
from ligflow.corpus.sources.sentence import Sentence
from ligflow.errors import LigflowError
from ligflow.evaluation import faithfulness
from ligflow.evaluation.ablation import REPLACEMENTS, ablation
from ligflow.evaluation.consistency import spearman
from ligflow.evaluation.other_methods import lig, rivals, seen_by
from ligflow.explainer.explainer import Explainer
from ligflow.files import atomically, write_text
from ligflow.inputs.positions import positions
from ligflow.layer.layer import Layer
from ligflow.layer.model_state import exact_mode
from ligflow.routes.workspace import Selection

LEAVE_ONE_OUT = "leave one out"
WITH_ITSELF = "rank_with_itself"
SHUFFLED = "shuffled_weights"
MEASURES = (*faithfulness.MEASURES, WITH_ITSELF, SHUFFLED)
NOT_RANKED = (SHUFFLED,)  # neither end is the better one: near 0 is
Maps = dict[str, Float[Tensor, "target source"]]


@dataclass(frozen=True)
class Trial:
    """What is tried: these layers, curves of so many steps, the first k sources; `seed` of what is random.

    The maps of so many sentences, the first, are compared with those under shuffled weights.
    """

    layers: tuple[int, ...] | None = None
    steps: int = 10
    top_k: int = 3
    seed: int = 0
    shuffled: int = 20

    def __post_init__(self) -> None:
        for name, least in (("steps", 2), ("top_k", 1), ("shuffled", 0)):
            if getattr(self, name) < least:
                raise LigflowError(f"{name} is {getattr(self, name)}; give a whole number from {least}.")


def run(
    folder: Path, explainer: Explainer, twin: Explainer, sentences: Sequence[Sentence], trial: Trial,
    done: Any = None,
) -> pandas.DataFrame:  # fmt: skip
    """Every method on every sentence, kept in `folder`; `twin` has the same layers with shuffled weights.

    A row a sentence, layer, replacement, method and measure: `sum` over `count` targets, and `unmet`, the
    integrals of LIG that miss the tolerance. Raises LigflowError for a folder that holds another trial, for
    layers that are not there, where another process is at work in the folder, and, before any work, for a
    sentence that cannot be explained.
    """
    if not sentences:
        raise LigflowError("The corpus has no sentence; choose others.")
    make_folder(folder)
    with locked(folder):
        return _carried_on(folder, explainer, twin, sentences, trial, done)


def _carried_on(
    folder: Path,
    explainer: Explainer,
    twin: Explainer,
    sentences: Sequence[Sentence],
    trial: Trial,
    done: Any,
) -> pandas.DataFrame:
    """What is missing is computed, and all of it read."""
    _same_trial(folder, {"model": explainer.name, "texts": _texts(sentences), **asdict(trial)})
    missing = [number for number, one in enumerate(sentences) if not _file(folder, one).exists()]
    means = corpus_means(explainer, sentences) if missing else {}
    for count, number in enumerate(missing):
        one = sentences[number]
        rows = of_sentence(explainer, twin if number < trial.shuffled else None, one, trial, means)
        _write(pandas.DataFrame(rows), _file(folder, one))
        if done is not None:
            done(count + 1, len(missing))
    return pandas.concat([pandas.read_parquet(_file(folder, one)) for one in sentences], ignore_index=True)


def described(frame: pandas.DataFrame, trial: Trial) -> str:
    """What was tried, in words."""
    layers = sorted(frame.layer.unique())
    cells = frame.groupby(["sentence", "layer"])["unmet"].first()
    which = f"layer{'s' * (len(layers) > 1)} {', '.join(map(str, layers))}"
    return (
        f"{frame.sentence.nunique()} sentences, {which}; curves of {trial.steps} steps, k = {trial.top_k}; "
        f"{int(cells.sum())} integrals of LIG missed the tolerance."
    )


def _texts(sentences: Sequence[Sentence]) -> str:
    """What tells one set of sentences from another."""
    texts = "\0".join(f"{one.number}:{one.text}" for one in sentences)
    return hashlib.sha256(texts.encode()).hexdigest()


def _file(folder: Path, sentence: Sentence) -> Path:
    return folder / f"{sentence.number:06d}.parquet"


def _write(frame: pandas.DataFrame, path: Path) -> None:
    atomically(path, lambda scratch: frame.to_parquet(scratch, index=False))


def _same_trial(folder: Path, asked: dict[str, Any]) -> None:
    """Writes down what is tried, or refuses a folder with another trial."""
    place = folder / "trial.json"
    if not place.exists():
        write_text(place, json.dumps(asked, indent=1))
    known, asked = read_json(place, "description of a trial"), json.loads(json.dumps(asked))
    check_fields(place, Tried, known, "Bring back a copy of the file, or choose another folder.")
    other = [name for name in asked if known.get(name) != asked[name]]
    if other:
        said = "; ".join(f"{name} {known.get(name)!r}, not {asked[name]!r}" for name in other)
        raise LigflowError(f"{str(folder)!r} holds another trial ({said}); choose another folder.")


def corpus_means(explainer: Explainer, sentences: Sequence[Sentence]) -> dict[int, Float[Tensor, " dim"]]:
    """The mean of z over all tokens of the sentences, for every layer."""
    sums: dict[int, Tensor] = {}
    tokens = 0
    for one in sentences:
        try:
            layers = explainer.record(one.inputs)
        except LigflowError as error:
            raise LigflowError(f"{one.place} cannot be tried, choose other sentences: {error}") from error
        tokens += len(layers[0].hidden)
        for layer in layers:
            sums[layer.index] = sums.get(layer.index, 0) + layer.hidden.double().sum(dim=0)
    return {index: total / tokens for index, total in sums.items()}


def of_sentence(
    explainer: Explainer, twin: Explainer | None, sentence: Sentence, trial: Trial, means: dict[int, Tensor]
) -> list[dict[str, Any]]:
    """The rows of one sentence."""
    rows = []
    layers, seed = explainer.record(sentence.inputs), trial.seed + sentence.number
    others = None if twin is None else twin.record(sentence.inputs)
    for number in positions("layer", trial.layers, len(layers)):
        layer, mean = layers[number], means[number].to(layers[number].hidden)
        tokens = _all(layer)
        with exact_mode(layer.hidden.device), explainer.lent(layer):
            maps, unmet = _maps(layer, tokens, mean, seed)
            players = seen_by(layer, tokens)
            found = list(_measured(layer, tokens, mean, maps, players, trial))
        if twin is not None and others is not None:
            with exact_mode(layer.hidden.device), twin.lent(others[number]):
                moved, _ = _maps(others[number].on_input(layer.hidden), tokens, mean, seed + 1)
            found.append(("", SHUFFLED, maps, _alike(maps, moved, _without_itself(players))))
        about = {"sentence": sentence.number, "layer": number, "unmet": unmet}
        rows += [about | row for part in found for row in _rows(*part)]
    return rows


def _all(layer: Layer) -> Selection:
    everyone = torch.arange(len(layer.hidden), device=layer.hidden.device)
    return Selection(everyone, everyone)


def _maps(layer: Layer, tokens: Selection, mean: Tensor, seed: int) -> tuple[Maps, int]:
    found, unmet = lig(layer, tokens, mean)
    return found | rivals(layer, tokens, seed), unmet


def _without_itself(seen: Bool[Tensor, "target source"]) -> Bool[Tensor, "target source"]:
    return seen & ~torch.eye(len(seen), dtype=torch.bool, device=seen.device)


Part = tuple[str, str, Maps, Float[Tensor, "method target"]]


def _measured(
    layer: Layer,
    tokens: Selection,
    mean: Tensor,
    maps: Maps,
    seen: Bool[Tensor, "target source"],
    trial: Trial,
) -> Iterator[Part]:
    """(replacement, measure, maps, values) of every measure; a target itself stays, but in WITH_ITSELF."""
    for name in REPLACEMENTS:
        image = ablation(layer, tokens, mean if name == "mean" else name).image
        effect = faithfulness.leave_one_out(image, seen)
        both = maps | {LEAVE_ONE_OUT: effect}
        stacked = torch.stack([one.float() for one in both.values()])
        found = faithfulness.measured(image, stacked, _without_itself(seen), trial.steps, trial.top_k)
        found[WITH_ITSELF] = spearman(stacked.abs().double(), effect.double()[None], seen[None])
        for measure, values in found.items():
            yield name, measure, both, values


def _alike(maps: Maps, others: Maps, players: Tensor) -> Float[Tensor, "method target"]:
    """Rank correlation of the magnitudes of two sets of maps."""
    some, more = (torch.stack([one.abs().double() for one in each.values()]) for each in (maps, others))
    return spearman(some, more, players[None])


def _rows(
    replacement: str, measure: str, maps: Maps, values: Float[Tensor, "method target"]
) -> Iterator[dict[str, Any]]:
    for method, of_method in zip(maps, values, strict=True):
        known = of_method[~of_method.isnan()]
        yield {
            "replacement": replacement, "method": method, "measure": measure,
            "sum": float(known.sum()), "count": len(known),
        }  # fmt: skip
