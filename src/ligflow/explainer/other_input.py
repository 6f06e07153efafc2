"""Layers of one model on the hidden states of another's."""

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from ligflow.errors import LigflowError
from ligflow.explainer.example import Example
from ligflow.explainer.prepared_model import PreparedModel
from ligflow.inputs.checks import Inputs
from ligflow.layer.layer import Layer


def on_hidden_states_of(
    other: PreparedModel, own: PreparedModel, example: Example, inputs: Inputs, truncate: bool
) -> Example:
    """The example of `own` with every layer given what the layer of the other model takes on these inputs.

    Raises LigflowError where the two do not have the same tokens, layers and sizes.
    """
    hidden = {layer.index: layer.hidden for layer in other.record(inputs, truncate)}
    _refuse_other_tokens(own, other, inputs)
    _refuse_other_shapes(own.name, other.name, example, hidden)

    def moved(layer: Layer) -> Layer:
        with own.ready_for(layer):
            return layer.on_input(hidden[layer.index].to(layer.hidden))

    return replace(example, layers=[moved(layer) for layer in example.layers])


def _refuse_other_tokens(own: PreparedModel, other: PreparedModel, inputs: Inputs) -> None:
    if own.labels(inputs) != other.labels(inputs):
        raise LigflowError(
            f"{own.name} and {other.name} cut this text into different tokens, so that their hidden states "
            "do not belong to each other; explain each on its own, and compare words."
        )


def _refuse_other_shapes(own: str, other: str, example: Example, hidden: Mapping[int, Tensor]) -> None:
    for layer in example.layers:
        here, there = tuple(layer.hidden.shape), hidden.get(layer.index)
        if there is None or tuple(there.shape) != here:
            raise LigflowError(
                f"Layer {layer.index} of {own} takes hidden states of shape {here}, and that of "
                f"{other} " + (f"has {tuple(there.shape)}." if there is not None else "is not there.")
            )
