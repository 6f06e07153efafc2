"""Where a hidden unit matters most over many texts: the strongest examples in a folder of predictions."""

from dataclasses import dataclass
from pathlib import Path

from ligflow.errors import LigflowError
from ligflow.results.neurons import Neuron
from ligflow.results.prediction_data import PredictionData
from ligflow.results.prediction_file import holds_prediction, load


@dataclass(frozen=True)
class NeuronExample:
    """One hidden unit at one token of a text; `share` is of all that speaks for and against the answer."""

    file: str
    text: str
    answer: str
    neuron: Neuron
    share: float


def neuron_examples(folder: str | Path, layer: int, unit: int, count: int = 20) -> list[NeuronExample]:
    """The tokens at which a hidden unit contributes most, of whichever sign, over a folder's predictions.

    They are sorted by `|R| / scale`, so that answers with large changes do not come first for that alone.
    Raises LigflowError for a folder without predictions that keep this layer's units, and for files of
    several models.
    """
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise LigflowError(f"count is {count!r}; give how many examples are listed, a whole number from 1.")
    kept = _with_units(Path(folder), layer)
    models = {(str(p.meta.get("model")), str(p.meta.get("revision"))) for _, p in kept}
    if len(models) > 1:
        named = ", ".join(sorted(model for model, _ in models))
        raise LigflowError(f"{str(folder)!r} holds predictions of several models: {named}; ask of one.")
    examples = [example for file, p in kept for example in _examples(file, p, layer, unit)]
    return sorted(examples, key=lambda example: -abs(example.share))[:count]


def _with_units(folder: Path, layer: int) -> list[tuple[str, PredictionData]]:
    """The predictions of a folder that keep a layer's hidden units, by the name of their file."""
    if not folder.is_dir():
        raise LigflowError(f"There is no folder {str(folder)!r}; give one with saved predictions.")
    files = [file for file in sorted(folder.glob("*.safetensors")) if holds_prediction(file)]
    every = [(file.name, load(file, PredictionData)) for file in files]
    kept = [(name, p) for name, p in every if p.layer_number(layer) in p.stored_neurons]
    if not kept:
        raise LigflowError(
            f"{str(folder)!r} holds {len(every)} predictions, none with the hidden units of layer {layer}: "
            f"save explain_prediction(..., neurons=[{layer}])."
        )
    return kept


def _examples(file: str, prediction: PredictionData, layer: int, unit: int) -> list[NeuronExample]:
    units = prediction.neurons(layer)
    size = units.relevance.shape[1]
    if isinstance(unit, bool) or not isinstance(unit, int) or not 0 <= unit < size:
        raise LigflowError(f"There is no unit {unit!r}; layer {layer} has units 0 to {size - 1}.")
    text, answer = (str(prediction.meta.get(name) or "") for name in ("text", "question"))
    cells = [units.at(position, unit) for position in units.relevance[:, unit].nonzero().flatten().tolist()]
    return [NeuronExample(file, text, answer, cell, cell.relevance / prediction.scale) for cell in cells]
