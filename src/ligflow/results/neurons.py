"""Hidden units of an MLP: what each contributes, token by token, and what it is in both runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from ligflow.errors import LigflowError
from ligflow.extras import need

if TYPE_CHECKING:
    import pandas

Groups = Sequence[tuple[str, int]]


@dataclass(frozen=True)
class Neuron:
    """One hidden unit at one token.

    `unit` is its place among all of its layer, `name` what it is called: with experts `expert 3, unit 17`.
    `activation` and `reference_activation` are what it is in both runs, an expert's times its gate.
    """

    layer: int
    position: int
    token: str
    unit: int
    name: str
    relevance: float
    activation: float
    reference_activation: float


@dataclass(frozen=True, eq=False, repr=False)
class NeuronsData:
    """The hidden units of one layer's MLP; `rows` are the strongest, of whichever sign.

    Over units, relevance sums to `node`, what the MLP contributes at a token; an output bias of an expert
    counts as a unit whose activation is the gate. `scale` is the prediction's.
    """

    layer: int
    tokens: Sequence[str]
    relevance: Float[Tensor, "token unit"]
    activation: Float[Tensor, "token unit"]
    reference_activation: Float[Tensor, "token unit"]
    groups: Groups
    node: Float[Tensor, " token"]
    scale: float
    top: int = 20

    @property
    def certificate(self) -> float:
        """`Σ_t |Σ_i R_ti - node_t| / scale`: whether units sum to their MLP."""
        return float((self.relevance.double().sum(-1) - self.node.double()).abs().sum()) / self.scale

    @property
    def rows(self) -> list[Neuron]:
        """The strongest units at a token, the strongest first; those with no relevance are left out."""
        return [self.at(position, unit) for position, unit, _ in strongest_units(self.relevance, self.top)]

    def at(self, position: int, unit: int) -> Neuron:
        """One unit at one token."""
        numbers = (
            float(each[position, unit])
            for each in (self.relevance, self.activation, self.reference_activation)
        )
        return Neuron(
            self.layer, position, self.tokens[position], unit, unit_called(self.groups, unit), *numbers
        )

    def to_pandas(self) -> pandas.DataFrame:
        """The strongest units, one row each."""
        need("tables", "A table")
        import pandas

        return pandas.DataFrame([vars(row) for row in self.rows], columns=[*Neuron.__annotations__])


def neurons_of(
    layer: int,
    tokens: Sequence[str],
    relevance: Float[Tensor, "token unit"],
    activations: Float[Tensor, "run token unit"],
    groups: Groups,
    node: Float[Tensor, " token"],
    scale: float,
    top: int,
) -> NeuronsData:
    """The units of a layer. Raises LigflowError for a count that is none."""
    if isinstance(top, bool) or not isinstance(top, int) or top < 1:
        raise LigflowError(f"top is {top!r}; give how many units are listed, a whole number from 1.")
    return NeuronsData(layer, tokens, relevance, activations[0], activations[1], groups, node, scale, top)


def unit_called(groups: Groups, unit: int) -> str:
    """What a unit is called: `unit 17`, `expert 3, unit 17`, `expert 3, output bias`."""
    for name, size in groups:
        if unit < size:
            own = "" if name.endswith("output bias") else f"unit {unit}"
            return ", ".join(part for part in (name, own) if part)
        unit -= size
    raise LigflowError(f"There is no such unit; the layer has {sum(size for _, size in groups)}.")


def strongest_units(relevance: Float[Tensor, "token unit"], count: int) -> list[tuple[int, int, float]]:
    """Positions and units with the largest relevance, of whichever sign; none that is 0."""
    flat = relevance.flatten()
    order = torch.topk(flat.abs(), min(count, flat.numel())).indices.tolist()
    places = ((*divmod(place, relevance.shape[1]), float(flat[place])) for place in order)
    return [place for place in places if place[2]]
