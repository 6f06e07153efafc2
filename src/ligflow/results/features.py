"""What features of a dictionary contribute to a prediction at each token, with the rest that they leave."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ligflow.errors import LigflowError

ENTRIES = ("positions", "features", "relevance", "activations", "reference_activations")
NODES = ("bias", "skip", "others", "rest")  # what stands beside the features at each token


@dataclass(frozen=True)
class FeatureAtToken:
    """One feature at one token; activations are those of the real run and of the reference run."""

    position: int
    token: str
    feature: int
    name: str
    url: str
    relevance: float
    activation: float
    reference_activation: float


@dataclass(frozen=True, eq=False, repr=False)
class Features:
    """The relevance `(m . d_f) Δa_f` of features by token, of those that are active in one of the two runs.

    With the nodes beside them they sum to `m . Δh`, what the vectors h contribute at a token:

    | attribute | shape | what |
    |---|---|---|
    | `relevance` | entry | of a feature at a token; `positions` and `features` say which |
    | `activations`, `reference_activations` | entry | in the real run and in the reference run |
    | `bias` | token | the decoder's bias times the change of a token's scale, where vectors are normalised |
    | `skip` | token | what goes past the features of a transcoder |
    | `rest` | token | `m . Δε`, what the dictionary does not explain |
    | `others` | token | features that are left out of the entries |

    `names` are what features are called, with links.
    """

    dictionary: str
    hook: str
    count: int
    tokens: Sequence[str]
    positions: Int[Tensor, " entry"]
    features: Int[Tensor, " entry"]
    relevance: Float[Tensor, " entry"]
    activations: Float[Tensor, " entry"]
    reference_activations: Float[Tensor, " entry"]
    bias: Float[Tensor, " token"]
    skip: Float[Tensor, " token"]
    others: Float[Tensor, " token"]
    rest: Float[Tensor, " token"]
    names: Mapping[int, tuple[str, str]] = field(default_factory=dict)

    @property
    def by_token(self) -> Float[Tensor, " token"]:
        """What all features contribute at each token."""
        return self.others.index_add(0, self.positions, self.relevance)

    @property
    def total(self) -> Float[Tensor, " token"]:
        """`m . Δh`: what the vectors contribute at each token, features and the nodes beside them."""
        return self.by_token + self.bias + self.skip + self.rest

    @property
    def unexplained(self) -> float:
        """The part of the rest in all that speaks for and against: `Σ |rest| / Σ |each part|`."""
        rest = float(self.rest.abs().sum())
        beside = sum(float(getattr(self, name).abs().sum()) for name in NODES)
        return rest / ((beside + float(self.relevance.abs().sum())) or 1.0)

    def rows(self) -> list[FeatureAtToken]:
        """The entries by size."""
        order = self.relevance.abs().argsort(descending=True, stable=True)
        columns = (
            self.positions,
            self.features,
            self.relevance,
            self.activations,
            self.reference_activations,
        )
        numbers = zip(*(column[order].tolist() for column in columns), strict=True)
        return [self._row(*each) for each in numbers]

    def _row(
        self, position: int, feature: int, relevance: float, activation: float, reference: float
    ) -> FeatureAtToken:
        name, url = self.names.get(feature, ("", ""))
        token = self.tokens[position]
        return FeatureAtToken(position, token, feature, name, url, relevance, activation, reference)

    def by_feature(self) -> dict[int, float]:
        """The relevance of each feature at all tokens together, by size."""
        features, places = self.features.unique(return_inverse=True)
        sums = self.relevance.new_zeros(len(features)).index_add(0, places, self.relevance)
        order = sums.abs().argsort(descending=True, stable=True)
        return dict(zip(features[order].tolist(), sums[order].tolist(), strict=True))

    def strongest(self, count: int) -> Self:
        """Those with the `count` strongest entries; what is left out is summed in `others`."""
        order = self.relevance.abs().argsort(descending=True, stable=True)
        kept, left = order[:count], order[count:]
        names = {
            number: self.names[number] for number in self.features[kept].tolist() if number in self.names
        }
        return replace(
            self,
            **self._entries(kept),
            others=self.others.index_add(0, self.positions[left], self.relevance[left]),
            names=names,
        )

    def _entries(self, kept: Tensor) -> dict[str, Any]:
        return {name: getattr(self, name)[kept] for name in ENTRIES}

    def __repr__(self) -> str:
        return (
            f"Features({self.dictionary!r} at {self.hook}, {len(self.features)} entries of {self.count} "
            f"features, {float(self.total.sum()):+.4g} in all, {self.unexplained:.0%} unexplained)"
        )


def summed(several: Sequence[Features], weight: float) -> Features:
    """Weighted sums over explanations of one input by one dictionary; an entry that one lacks counts as 0.

    Activations are those of the mean. Raises LigflowError for features of other dictionaries.
    """
    first = several[0]
    for other in several:
        if (other.dictionary, other.hook, other.count) != (first.dictionary, first.hook, first.count):
            raise LigflowError(
                "These predictions have features of other dictionaries; ask for the same ones."
            )
    keys = torch.cat([each.positions * first.count + each.features for each in several])
    known, places = keys.unique(return_inverse=True)

    def total(name: str, factor: float) -> Tensor:
        values = torch.cat([getattr(each, name) for each in several])
        return values.new_zeros(len(known)).index_add(0, places, values) * factor

    numbers: dict[str, Any] = {
        name: torch.stack([getattr(each, name) for each in several]).sum(0) * weight for name in NODES
    }
    for name, factor in zip(ENTRIES[2:], (weight, 1 / len(several), 1 / len(several)), strict=True):
        numbers[name] = total(name, factor)
    names = {number: name for each in several for number, name in each.names.items()}
    return replace(
        first, positions=known // first.count, features=known % first.count, names=names, **numbers
    )


def nodes(features: Features) -> Iterator[tuple[str, float]]:
    """The nodes beside the features that are not 0, by name, at all tokens together."""
    for name in NODES:
        values: Tensor = getattr(features, name)
        if bool(values.any()):
            yield name, float(values.sum())
