"""What a trial stores of a sentence: what each method scores under each measure of faithfulness, as rows."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ligflow.corpus.sources.sentence import Sentence
from ligflow.devices.precision import exact_mode
from ligflow.errors import LigflowError
from ligflow.evaluation import judged_maps
from ligflow.evaluation.consistency import spearman
from ligflow.evaluation.other_methods import is_signed, lig, rivals, seen_by
from ligflow.evaluation.removal import REPLACEMENTS, ablation
from ligflow.evaluation.shapley import FEWEST_PAIRS
from ligflow.explainer.explainer import Explainer
from ligflow.inputs.positions import positions
from ligflow.layer.layer import Layer
from ligflow.routes.workspace import Selection

SHUFFLED = "shuffled_weights"
MEASURES = (*judged_maps.MEASURES, SHUFFLED)
NOT_RANKED = (SHUFFLED,)  # neither end is the better one: near 0 is
WORDS, ALL = "words", "all"  # which sources are removed: all but special tokens, or these too
Maps = dict[str, Float[Tensor, "target source"]]
Part = tuple[str, str, str, judged_maps.Rows]  # replacement, players, measure, values


@dataclass(frozen=True)
class Trial:
    """What is tried: these layers, by curves of so many steps and by the first k sources.

    `steps` are those of deletion and insertion [petsiuk2018], `top_k` is the k of comprehensiveness and
    sufficiency [deyoung2020], `pairs` the pairs of orders of the Shapley values [castro2009], `seed` that of
    what is random. The maps of the first `shuffled` sentences are compared with those under shuffled weights,
    each sentence under an order of its own [adebayo2018]. Raises LigflowError for numbers that are too small.
    """

    layers: tuple[int, ...] | None = None
    steps: int = 10
    top_k: int = 3
    seed: int = 0
    shuffled: int = 5
    pairs: int = 16

    def __post_init__(self) -> None:
        for name, least in (("steps", 2), ("top_k", 1), ("shuffled", 0), ("pairs", FEWEST_PAIRS)):
            if getattr(self, name) < least:
                raise LigflowError(f"{name} is {getattr(self, name)}; give a whole number from {least}.")


def of_sentence(
    explainer: Explainer, twin: Explainer | None, sentence: Sentence, trial: Trial, means: dict[int, Tensor]
) -> list[dict[str, Any]]:
    """The rows of one sentence; `means` holds the mean of z of every layer. `twin` has shuffled weights."""
    rows = []
    layers, seed = explainer.prepared.record(sentence.inputs), trial.seed + sentence.number
    others = None if twin is None else twin.prepared.record(sentence.inputs)
    special = _special(explainer, sentence, layers[0])
    for number in positions("layer", trial.layers, len(layers)):
        layer, mean = layers[number], means[number].to(layers[number].hidden)
        tokens = _all(layer)
        with exact_mode(layer.hidden.device), explainer.prepared.ready_for(layer):
            maps, unmet = _maps(layer, tokens, mean, seed)
            visible = _without_itself(seen_by(layer, tokens))
            players = {WORDS: visible & ~special, ALL: visible}
            parts = list(_measured(layer, tokens, mean, maps, players, trial, seed))
        if twin is not None and others is not None:
            with exact_mode(layer.hidden.device), twin.prepared.ready_for(others[number]):
                moved, _ = _maps(others[number].on_input(layer.hidden), tokens, mean, seed + 1)
            parts += [("", who, SHUFFLED, _alike(maps, moved, sources)) for who, sources in players.items()]
        about = {"sentence": sentence.number, "layer": number, "unmet": unmet}
        rows += [about | row for part in parts for row in _rows(*part)]
    return rows


def _all(layer: Layer) -> Selection:
    everyone = torch.arange(len(layer.hidden), device=layer.hidden.device)
    return Selection(everyone, everyone)


def _special(explainer: Explainer, sentence: Sentence, layer: Layer) -> Bool[Tensor, " source"]:
    """Which tokens are special; none for a model without a tokenizer."""
    tokens = explainer.prepared.encode(sentence.inputs).tokens
    marks = (False,) * len(layer.hidden) if tokens is None else tokens.special
    return torch.tensor(marks, device=layer.hidden.device)


def _maps(layer: Layer, tokens: Selection, mean: Tensor, seed: int) -> tuple[Maps, int]:
    maps, unmet = lig(layer, tokens, mean)
    return maps | rivals(layer, tokens, seed), unmet


def _without_itself(visible: Bool[Tensor, "target source"]) -> Bool[Tensor, "target source"]:
    return visible & ~torch.eye(len(visible), dtype=torch.bool, device=visible.device)


def _measured(
    layer: Layer,
    tokens: Selection,
    mean: Tensor,
    maps: Maps,
    players: dict[str, Bool[Tensor, "target source"]],
    trial: Trial,
    seed: int,
) -> Iterator[Part]:
    """(replacement, players, measure, values) of every measure; a target itself stays, as in the real run."""
    signed = frozenset(filter(is_signed, maps))
    for name in REPLACEMENTS:
        image = ablation(layer, tokens, mean if name == "mean" else name).image
        for who, sources in players.items():
            scores = judged_maps.judged(
                image, maps, signed, sources, trial.steps, trial.top_k, trial.pairs, seed
            )
            for measure, values in scores.items():
                yield name, who, measure, values


def _alike(maps: Maps, others: Maps, players: Tensor) -> judged_maps.Rows:
    """Rank correlation of the magnitudes of two sets of maps, of the methods that both have."""
    both = [method for method in maps if method in others]
    first, second = (torch.stack([each[method].abs().double() for method in both]) for each in (maps, others))
    return dict(zip(both, spearman(first, second, players[None]), strict=True))


def _rows(replacement: str, players: str, measure: str, values: judged_maps.Rows) -> Iterator[dict[str, Any]]:
    for method, of_method in values.items():
        known = of_method[~of_method.isnan()]
        yield {
            "replacement": replacement, "players": players, "method": method, "measure": measure,
            "sum": float(known.sum()), "count": len(known),
        }  # fmt: skip
