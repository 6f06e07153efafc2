"""Hidden units of a layer that an explanation did not keep: its chain is run once more."""

from ligflow.errors import UnsupportedModel
from ligflow.prediction.again import chained_again
from ligflow.prediction.hidden_units import hidden_units
from ligflow.results.neurons import NeuronsData, neurons_of
from ligflow.results.prediction_data import PredictionData


def neurons_again(prediction: PredictionData, layer: int, top: int) -> NeuronsData:
    """The hidden units of a layer that was not asked for, by the chain run once more.

    Raises LigflowError where there is no model, UnsupportedModel where the MLP is not of that form.
    """
    stored = ", ".join(map(str, prediction.stored_neurons)) or "none"
    instead = (
        f"hidden units are stored of layers: {stored}. Ask for others when you explain: "
        f"explain_prediction(..., neurons=[{layer}])"
    )
    with chained_again(prediction, instead) as chained:
        call = next((call for call in chained.built.calls if call.number == layer), None)
        if call is None:
            raise UnsupportedModel(
                f"Layer {layer} does not move between the two runs, so its MLP gives nothing."
            )
        units = hidden_units(chained.built, chained.result, chained.row, call)
    groups = [(group.name, group.size) for group in units.groups]
    return neurons_of(
        layer, prediction.tokens, units.relevance, units.activations, groups, prediction.mlps[layer],
        prediction.scale, top,
    )  # fmt: skip
