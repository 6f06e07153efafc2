"""Features of a dictionary as a result: what is asked of an explanation afterwards, shown in a notebook."""

from dataclasses import dataclass
from pathlib import Path

from ligflow.dictionaries.dictionary import Dictionary
from ligflow.dictionaries.model_names import told_apart
from ligflow.dictionaries.read import read_dictionary
from ligflow.errors import LigflowError, LigflowWarning, warn
from ligflow.prediction.again import chained_again
from ligflow.prediction.at_hook_point import HookPoints
from ligflow.prediction.chain import Accuracy
from ligflow.prediction.features import features_of
from ligflow.prediction.read_out import Places
from ligflow.results.features import Features
from ligflow.results.prediction_data import PredictionData


@dataclass(frozen=True, eq=False, repr=False)
class FeatureTable(Features):
    """What features of a dictionary contribute at each token; what it holds: `ligflow.results.Features`."""

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
    prediction: PredictionData, dictionary: Dictionary | str | Path, top: int | None = None
) -> FeatureTable:
    """The features of a dictionary in an explanation whose model is at hand (`Prediction.features`)."""
    if top is not None and (isinstance(top, bool) or not isinstance(top, int) or top < 1):
        raise LigflowError(f"top is {top!r}; give how many features are listed, from 1, or None.")
    coder = dictionary if isinstance(dictionary, Dictionary) else read_dictionary(dictionary)
    instead = "explain the input again and ask that for features: ex.explain_prediction(...).features(...)"
    with chained_again(prediction, instead) as chained:
        settings = prediction.meta["settings"]
        accuracy = Accuracy(settings["tol"], settings["max_points"], settings["points"])
        places = Places(chained.built.graph, chained.result, chained.row)
        points = HookPoints(chained.runs, chained.built, places, accuracy)
        own = features_of(points, coder, prediction.tokens)
    _warn_of_model(coder, prediction)
    table = FeatureTable(**vars(own))
    return table if top is None else table.strongest(top)


def _warn_of_model(dictionary: Dictionary, prediction: PredictionData) -> None:
    """Warns where a dictionary says that it is for a model of another name."""
    model = str(prediction.meta.get("model") or "")
    if told_apart(dictionary.model, model) and not Path(model).is_dir():  # a folder may have any name
        warn(
            f"The dictionary {dictionary.name!r} says that it is for {dictionary.model}, and the model is "
            f"{model}: features mean what they mean there alone.",
            LigflowWarning,
        )
