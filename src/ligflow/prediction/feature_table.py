"""Features of a dictionary as a result: what is asked of an explanation afterwards, shown in a notebook."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ligflow.dictionaries.dictionary import Dictionary
from ligflow.dictionaries.read import read_dictionary
from ligflow.errors import LigflowError, LigflowWarning, warn
from ligflow.extras import need
from ligflow.prediction.again import chained_again
from ligflow.prediction.at_hook_point import HookPoints
from ligflow.prediction.chain import Accuracy
from ligflow.prediction.features import features_of
from ligflow.prediction.kept_features import of_another_model
from ligflow.prediction.read_out import Places
from ligflow.results.features import Features
from ligflow.results.prediction_data import PredictionData

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, eq=False, repr=False)
class FeatureTable(Features):
    """What features of a dictionary contribute at each token; what it holds: `ligflow.results.Features`."""

    def to_pandas(self) -> "pandas.DataFrame":
        """One row an entry, by size, and one a node beside the features at a token (`feature` is missing)."""
        need("tables", "A table")
        from ligflow.results.feature_tables import to_pandas

        return to_pandas(self)

    def show(self, count: int = 10) -> None:
        """Prints the strongest features, and what stands beside them."""
        from rich.console import Console

        from ligflow.view.features import report

        with Console(highlight=False) as console:  # all at once: a notebook shows one output
            report(self, console, count)

    def _repr_html_(self) -> str:
        from ligflow.view.features import fragment

        return fragment(self)


def features(
    prediction: PredictionData, dictionary: Dictionary | str | Path | None = None, top: int | None = None
) -> FeatureTable:
    """The features of a dictionary in an explanation (`Prediction.features`)."""
    if top is not None and (isinstance(top, bool) or not isinstance(top, int) or top < 1):
        raise LigflowError(f"top is {top!r}; give how many features are listed, from 1, or None.")
    if (kept := _kept(prediction, dictionary)) is not None:
        table = FeatureTable(**vars(kept))
        return table if top is None else table.strongest(top)
    assert dictionary is not None
    coder = dictionary if isinstance(dictionary, Dictionary) else read_dictionary(dictionary)
    instead = "explain the input again and ask that for features: ex.explain_prediction(...).features(...)"
    with chained_again(prediction, instead) as chained:
        settings = prediction.meta["settings"]
        accuracy = Accuracy(settings["tol"], settings["max_points"], settings["points"])
        places = Places(chained.built.graph, chained.result, chained.row)
        points = HookPoints(chained.runs, chained.built, places, accuracy)
        own = features_of(points, coder, prediction.tokens)
    if note := of_another_model(coder, str(prediction.meta.get("model") or "")):
        warn(f"{note[0].upper()}{note[1:]}.", LigflowWarning)
    table = FeatureTable(**vars(own))
    return table if top is None else table.strongest(top)


def _kept(prediction: PredictionData, dictionary: Dictionary | str | Path | None) -> Features | None:
    """The features that are stored, of the only dictionary or of one that is named.

    Raises LigflowError where none is named, and not one is stored.
    """
    stored = prediction.stored_features
    if dictionary is None and len(stored) != 1:
        names = ", ".join(repr(each.dictionary) for each in stored) or "none"
        raise LigflowError(
            f"Say of which dictionary (stored: {names}): its name, or its folder, "
            "p.features('my-dictionary')."
        )
    if dictionary is None:
        return stored[0]
    named = dictionary if isinstance(dictionary, str) else None
    return next((each for each in stored if each.dictionary == named), None)
