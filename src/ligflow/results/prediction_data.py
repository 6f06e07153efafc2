"""Why a prediction: relevance by token, head and layer, conserved from the score down to the input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, overload

import torch
from jaxtyping import Float
from torch import Tensor

from ligflow.errors import LigflowError
from ligflow.results.edge_parts import EdgeParts
from ligflow.results.features import Features
from ligflow.results.neurons import Groups, NeuronsData, neurons_of

AnyPrediction = TypeVar("AnyPrediction", bound="PredictionData")


@dataclass(frozen=True)
class SegmentCertificate:
    """How well a segment of the model was integrated, in units of the score.

    `residue` is what its sources sum to less what they should; `error` the estimated sum over tokens of what
    their relevance is off; `allowance` what it may be, and `met` whether it is no more.
    """

    name: str
    layer: int | None
    residue: float
    error: float
    allowance: float
    points: int
    met: bool
    note: str = ""


@dataclass(frozen=True, eq=False, repr=False)
class PredictionData:
    """What each token, head and layer contributes to the change of a score between two runs.

    | attribute | shape | what |
    |---|---|---|
    | `by_depth` | cut token | relevance of each token at every cut; each row sums to `change` |
    | `late` | cut token | the part of it that enters above the cut by other ways than the hidden states |
    | `error` | token | estimated error of a token's relevance at the input: an estimate, no bound |
    | `heads[layer]` | head token | what a head writes at a token |
    | `mlps[layer]` | token | what the MLP writes at a token |
    | `residual[layer]` | token | what a token carries past the layer's own parts |
    | `routing[layer]` | token | what a token's changes of experts give, a part of its MLP's |
    | `parts[layer]` | part head target source | edges by value, key and query, where they were asked for |
    | `stored_neurons[layer]` | token unit | what hidden units of an MLP give, where they were asked for |
    | `stored_activations[layer]` | run token unit | what they are in the real run, and in the reference run |

    `stored_features` are those of dictionaries that were asked for, at the hook point of each.

    `tokens` are those of the input; with an encoder its tokens come first, and `streams` says where each
    stream's begin and end. `kept` tokens are the same in both runs. `value` and `reference_value` are the
    score in the real and in the reference run, whose likeliest outputs are `top` and `reference_top`.
    """

    tokens: list[str]
    special: tuple[bool, ...]
    kept: tuple[bool, ...]
    value: float
    reference_value: float
    cuts: list[str]
    by_depth: Float[Tensor, "cut token"]
    late: Float[Tensor, "cut token"]
    error: Float[Tensor, " token"]
    heads: Mapping[int, Float[Tensor, "head token"]] = field(default_factory=dict)
    cross_heads: Mapping[int, Float[Tensor, "head token"]] = field(default_factory=dict)
    mlps: Mapping[int, Float[Tensor, " token"]] = field(default_factory=dict)
    residual: Mapping[int, Float[Tensor, " token"]] = field(default_factory=dict)
    routing: Mapping[int, Float[Tensor, " token"]] = field(default_factory=dict)
    stored_edges: Mapping[int, Float[Tensor, "head target source"]] = field(default_factory=dict)
    parts: Mapping[int, Float[Tensor, "part head target source"]] = field(default_factory=dict)
    stored_features: tuple[Features, ...] = ()
    stored_neurons: Mapping[int, Float[Tensor, "token unit"]] = field(default_factory=dict)
    stored_activations: Mapping[int, Float[Tensor, "run token unit"]] = field(default_factory=dict)
    certificates: tuple[SegmentCertificate, ...] = ()
    top: tuple[tuple[str, float], ...] = ()
    reference_top: tuple[tuple[str, float], ...] = ()
    layer_names: tuple[str, ...] = ()
    streams: tuple[tuple[str, int, int], ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)

    @property
    def change(self) -> float:
        """`s(x) - s(x°)`: what the relevance of the tokens sums to, up to the certificate."""
        return self.value - self.reference_value

    @property
    def relevance(self) -> Float[Tensor, " token"]:
        """What each token of the input contributes to the change of the score."""
        return self.by_depth[0]

    @property
    def scale(self) -> float:
        """`max(|change|, Σ |relevance|)`: what errors are relative to."""
        return max(abs(self.change), float(self.relevance.abs().sum()), torch.finfo(torch.float64).tiny)

    @property
    def certificate(self) -> float:
        """`(Σ relevance - change) / scale`: whether the tokens sum to the change, not that each is right."""
        return (float(self.relevance.sum()) - self.change) / self.scale

    @property
    def unmet(self) -> list[SegmentCertificate]:
        """The segments that miss what they were allowed."""
        return [segment for segment in self.certificates if not segment.met]

    @overload
    def edges(self, layer: int, parts: Literal[False] = False) -> Tensor: ...

    @overload
    def edges(self, layer: int, parts: Literal[True]) -> EdgeParts: ...

    def edges(self, layer: int, parts: bool = False) -> Float[Tensor, "head target source"] | EdgeParts:
        """What each head carries from source to target; a head's edges sum to its relevance at the target.

        With `parts` they are split into what was read (value), where it was found (key), what was asked
        (query), which sum to the same. Raises LigflowError for a layer of which these are not stored.
        """
        held: Mapping[int, Tensor] = self.parts if parts else self.stored_edges
        if layer not in held:
            what, more = ("parts of edges", ", parts=True") if parts else ("edges", "")
            stored = ", ".join(map(str, held)) or "none"
            raise LigflowError(
                f"No {what} of layer {layer} are stored (stored: {stored}); ask for them: "
                f"explain_prediction(..., edges=[{layer}]{more})."
            )
        return EdgeParts.of(held[layer]) if parts else held[layer]

    def neurons(self, layer: int, top: int = 20) -> NeuronsData:
        """The hidden units of a layer's MLP, the `top` strongest of which are listed.

        `R_i = (W_outᵀ m)_i Δa_i` of unit i at a token, which sums over units to `mlps[layer]`. Raises
        LigflowError for a layer whose units are not stored.
        """
        layer = self.layer_number(layer)
        if layer not in self.stored_neurons:
            stored = ", ".join(map(str, self.stored_neurons)) or "none"
            raise LigflowError(
                f"No hidden units of layer {layer} are stored (stored: {stored}); ask for them: "
                f"explain_prediction(..., neurons=[{layer}])."
            )
        return neurons_of(
            layer, self.tokens, self.stored_neurons[layer], self.stored_activations[layer],
            self.unit_groups(layer), self.mlps[layer], self.scale, top,
        )  # fmt: skip

    def unit_groups(self, layer: int) -> Groups:
        """What the stored hidden units of a layer are called, and how many: `[("expert 0", 512), ...]`."""
        groups: Groups = self.meta["units"][str(layer)]
        return groups

    def layer_number(self, layer: int) -> int:
        """A layer's number; negative ones count from the last.

        Raises LigflowError for a layer that there is not.
        """
        count = len(self.layer_names)
        if isinstance(layer, bool) or not isinstance(layer, int) or not -count <= layer < count:
            raise LigflowError(f"There is no layer {layer!r}; the prediction has layers 0 to {count - 1}.")
        return layer % count
