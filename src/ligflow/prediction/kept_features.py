"""The features of dictionaries that are kept with a prediction's explanation."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ligflow.dictionaries.dictionary import Dictionary
from ligflow.dictionaries.model_names import told_apart
from ligflow.prediction.at_hook_point import HookPoints
from ligflow.prediction.chain import Accuracy, Chain
from ligflow.prediction.features import features_of
from ligflow.prediction.graph import Built, Runs
from ligflow.prediction.read_out import Places
from ligflow.results.features import Features


@dataclass(eq=False)
class KeptFeatures:
    """Features by dictionary, in the order of these, and what must be known of them."""

    features: list[Features] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def kept_features(
    runs: Runs, built: Built, result: Chain, row: int, settings: Any, tokens: Sequence[str], model: str
) -> KeptFeatures:
    """Those of the dictionaries that are asked for. Raises LigflowError for one that does not fit."""
    accuracy = Accuracy(settings.tol, settings.max_points, settings.points)
    points = HookPoints(runs, built, Places(built.graph, result, row), accuracy)
    kept = KeptFeatures()
    for dictionary in settings.features:
        kept.features.append(features_of(points, dictionary, tokens))
        if note := of_another_model(dictionary, model):
            kept.notes.append(note)
    return kept


def of_another_model(dictionary: Dictionary, model: str) -> str:
    """A sentence where a dictionary says that it is for a model of another name; else nothing."""
    if not told_apart(dictionary.model, model) or Path(model).is_dir():  # a folder may have any name
        return ""
    return (
        f"the dictionary {dictionary.name!r} says that it is for {dictionary.model}, and the model is "
        f"{model}: what its features mean they mean there alone"
    )
