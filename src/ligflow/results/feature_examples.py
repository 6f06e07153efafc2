"""Where a feature of a dictionary matters most over many texts: the strongest examples in a folder."""

from dataclasses import dataclass
from pathlib import Path

from ligflow.errors import LigflowError
from ligflow.results.features import FeatureAtToken, Features
from ligflow.results.prediction_data import PredictionData
from ligflow.results.prediction_folder import check_count, predictions_of, text_and_answer


@dataclass(frozen=True)
class FeatureExample:
    """One feature at one token of a text; `share` is of all that speaks for and against the answer."""

    file: str
    text: str
    answer: str
    feature: FeatureAtToken
    share: float


def feature_examples(
    folder: str | Path, feature: int, dictionary: str | None = None, count: int = 20
) -> list[FeatureExample]:
    """The tokens at which a feature contributes most, of whichever sign, over a folder's predictions.

    `dictionary` is the name of one, and may be left out where the files keep features of one alone. They are
    sorted by `|R| / scale`, so that answers with large changes do not come first for that alone. Raises
    LigflowError for a folder without predictions that keep such features, for files of several models, and
    for a dictionary that is not the same in all.
    """
    check_count(count)
    kept = predictions_of(
        folder,
        lambda p: any(dictionary in (None, each.dictionary) for each in p.stored_features),
        "features of a dictionary" if dictionary is None else f"features of the dictionary {dictionary!r}",
        "explain_prediction(..., features=dictionary)",
    )
    own = [(file, p, each) for file, p in kept for each in p.stored_features]
    own = [row for row in own if dictionary in (None, row[2].dictionary)]
    _check_same([each for _, _, each in own])
    size = own[0][2].count
    if isinstance(feature, bool) or not isinstance(feature, int) or not 0 <= feature < size:
        raise LigflowError(f"There is no feature {feature!r}; the dictionary has features 0 to {size - 1}.")
    examples = [example for row in own for example in _examples(*row, feature)]
    return sorted(examples, key=lambda example: -abs(example.share))[:count]


def _check_same(every: list[Features]) -> None:
    """Raises LigflowError for features of several dictionaries."""
    known = {(each.dictionary, each.hook, each.count) for each in every}
    if len(known) > 1:
        said = "; ".join(f"{name!r} at {hook}, {size} features" for name, hook, size in sorted(known))
        raise LigflowError(f"The folder has features of several dictionaries, of which name one: {said}.")


def _examples(
    file: str, prediction: PredictionData, features: Features, feature: int
) -> list[FeatureExample]:
    about = file, *text_and_answer(prediction)
    cells = [row for row in features.rows() if row.feature == feature]
    return [FeatureExample(*about, cell, cell.relevance / prediction.scale) for cell in cells]
