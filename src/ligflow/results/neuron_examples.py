"""Where a hidden unit matters most over many texts: the strongest examples in a folder of predictions."""

from dataclasses import dataclass
from pathlib import Path

from ligflow.errors import LigflowError
from ligflow.results.neurons import Neuron
from ligflow.results.prediction_data import PredictionData
from ligflow.results.prediction_folder import check_count, predictions_of, text_and_answer


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
    check_count(count)
    kept = predictions_of(
        folder,
        lambda p: p.layer_number(layer) in p.stored_neurons,
        f"the hidden units of layer {layer}",
        f"explain_prediction(..., neurons=[{layer}])",
    )
    examples = [example for file, p in kept for example in _examples(file, p, layer, unit)]
    return sorted(examples, key=lambda example: -abs(example.share))[:count]


def _examples(file: str, prediction: PredictionData, layer: int, unit: int) -> list[NeuronExample]:
    units = prediction.neurons(layer)
    size = units.relevance.shape[1]
    if isinstance(unit, bool) or not isinstance(unit, int) or not 0 <= unit < size:
        raise LigflowError(f"There is no unit {unit!r}; layer {layer} has units 0 to {size - 1}.")
    about = file, *text_and_answer(prediction)
    cells = [units.at(position, unit) for position in units.relevance[:, unit].nonzero().flatten().tolist()]
    return [NeuronExample(*about, cell, cell.relevance / prediction.scale) for cell in cells]
