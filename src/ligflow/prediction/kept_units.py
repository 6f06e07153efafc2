"""Of which layers the hidden units are kept with a prediction's explanation, and these."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from ligflow.errors import UnsupportedModel
from ligflow.prediction.chain import Chain
from ligflow.prediction.graph import Built
from ligflow.prediction.hidden_units import HiddenUnits, hidden_units
from ligflow.prediction.kept_edges import check_layers
from ligflow.prediction_settings import ALL, STRONGEST

_MLPS = 5  # the strongest MLPs at a token whose layers' units are kept: those that a screen names


@dataclass(eq=False)
class KeptUnits:
    """Hidden units by the number of their layer, and notes."""

    layers: dict[int, HiddenUnits] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def parts(self, named: str) -> dict[int, Tensor]:
        """`relevance` or `activations` of all layers."""
        return {layer: getattr(units, named) for layer, units in self.layers.items()}

    def names(self) -> dict[str, list[tuple[str, int]]]:
        """What units are called, and how many of them, as JSON holds it."""
        return {
            str(layer): [(group.name, group.size) for group in units.groups]
            for layer, units in self.layers.items()
        }


def layers_with_units(
    mlps: Mapping[int, Tensor], neurons: Collection[int] | str, count: int
) -> tuple[int, ...]:
    """The numbers of the layers: those of the strongest MLPs, all, or those that are named.

    Raises LigflowError for a layer that the model does not have.
    """
    if neurons == ALL:
        return tuple(range(count))
    if neurons == STRONGEST:
        cells = [
            (float(size), layer) for layer, values in mlps.items() for size in values.abs().flatten().tolist()
        ]
        return tuple(sorted({layer for _, layer in sorted(cells, reverse=True)[:_MLPS]}))
    check_layers(neurons, count)
    return tuple(sorted({int(number) % count for number in neurons}))


def kept_units(built: Built, result: Chain, row: int, layers: Collection[int]) -> KeptUnits:
    """The hidden units of some layers for one row. Layers that have none are named in the notes.

    Raises UnsupportedModel where layers are asked for and none has any.
    """
    kept = KeptUnits()
    for call in (call for call in built.calls if call.number in layers):
        try:
            kept.layers[call.number] = hidden_units(built, result, row, call)
        except UnsupportedModel as error:
            kept.notes.append(str(error))
    if layers and not kept.layers:
        reasons = kept.notes[0] if kept.notes else "None of these layers moves between the two runs."
        raise UnsupportedModel(f"{reasons} Leave neurons out, or name other layers.")
    return kept
