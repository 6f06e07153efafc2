"""Saved predictions of many texts in a folder, in which strongest examples are looked for."""

from collections.abc import Callable
from pathlib import Path

from ligflow.errors import LigflowError
from ligflow.results.prediction_data import PredictionData
from ligflow.results.prediction_file import holds_prediction, load


def predictions_of(
    folder: str | Path, keeps: Callable[[PredictionData], bool], what: str, instead: str
) -> list[tuple[str, PredictionData]]:
    """The predictions of a folder that keep something, by the name of their file.

    Raises LigflowError for a folder without one, saying what it lacks and what to save instead, and for
    predictions of several models.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise LigflowError(f"There is no folder {str(folder)!r}; give one with saved predictions.")
    files = [file for file in sorted(folder.glob("*.safetensors")) if holds_prediction(file)]
    loaded = ((file.name, load(file, PredictionData)) for file in files)
    kept = [(name, p) for name, p in loaded if keeps(p)]
    if not kept:
        raise LigflowError(
            f"{str(folder)!r} holds {len(files)} predictions, none with {what}: save {instead}."
        )
    models = {(str(p.meta.get("model")), str(p.meta.get("revision"))) for _, p in kept}
    if len(models) > 1:
        named = ", ".join(sorted(model for model, _ in models))
        raise LigflowError(f"{str(folder)!r} holds predictions of several models: {named}; ask of one.")
    return kept


def text_and_answer(prediction: PredictionData) -> tuple[str, str]:
    """What a prediction explains, as its file says it."""
    text, answer = (str(prediction.meta.get(name) or "") for name in ("text", "question"))
    return text, answer


def check_count(count: int) -> None:
    """Raises LigflowError for a number of examples that is none."""
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise LigflowError(f"count is {count!r}; give how many examples are listed, a whole number from 1.")
