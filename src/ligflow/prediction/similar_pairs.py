"""Which tokens of two texts make them similar together: the bilinear split of a cosine [moeller2023].

With `e` the normalised vector of a text, `e - e° = J̄ Δx` splits into tokens on either side, so that

    s(a, b) - s(a, b°) - s(a°, b) + s(a°, b°) = (e_a - e_a°) . (e_b - e_b°) = Σ_jk (J̄_a Δa_j) . (J̄_b Δb_k)
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ligflow.devices.precision import exact_mode
from ligflow.errors import CompletenessWarning, warn
from ligflow.explainer.prepared_model import PreparedModel
from ligflow.inputs.checks import Inputs
from ligflow.prediction.chain import Accuracy, chain
from ligflow.prediction.question_graph import taken_apart
from ligflow.prediction.references import reference as references_of
from ligflow.prediction.targets import question
from ligflow.prediction_settings import PredictionSettings

POINTS = 7  # of every segment, where no number is given: components are many, and each of them is small
Vector = Callable[[Any], Float[Tensor, "point width"]]


def similar_pairs(
    prepared: PreparedModel,
    text: Inputs,
    other: Inputs,
    vector: Vector,
    settings: PredictionSettings,
) -> tuple[Float[Tensor, "text other"], Float[Tensor, "text other"], float]:
    """What each pair of tokens contributes, its estimated error, and what all pairs should sum to.

    It takes a chain with a row for each component of a vector, and one with two rows for each token: along
    what it does, and along the estimated error of that, by component with random signs.
    """

    def unit(outputs: Any) -> Float[Tensor, "point width"]:
        return torch.nn.functional.normalize(vector(outputs), dim=-1)

    first = _rows(prepared, text, unit, settings)
    signs = torch.randint(2, first.error.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    directions = torch.cat([first.relevance.T, (first.error * signs).T, first.change[None]])

    def along(outputs: Any) -> Float[Tensor, "point row"]:
        """The other text's vector along these; the last row along all that the first text did."""
        own = unit(outputs)
        return own @ directions.T.to(own)

    second = _rows(prepared, other, along, settings)
    count = len(first.relevance.T)
    pairs, change = second.relevance[:count], float(second.change[-1])
    error = second.error[:count] + second.relevance[count:-1].abs()
    _warn_missed(float(pairs.sum()), change, float(pairs.abs().sum()), settings.tol)
    return pairs, error, change


def _warn_missed(total: float, wanted: float, size: float, tol: float) -> None:
    """Warns (CompletenessWarning) where pairs do not add up to what they should."""
    off = abs(total - wanted) / max(abs(wanted), size, 1e-300)
    if off > tol:
        warn(
            f"The pairs add up to {total:.4g} of {wanted:.4g}, off by {off:.1e} of their size, more than the "
            f"tolerance {tol:.1e}; take more points: points=31.",
            CompletenessWarning,
        )


@dataclass(frozen=True, eq=False)
class _Rows:
    """What each token contributes to each number of a score, the estimated error, and each one's change."""

    relevance: Float[Tensor, "row token"]
    error: Float[Tensor, "row token"]
    change: Float[Tensor, " row"]


def _rows(prepared: PreparedModel, text: Inputs, score: Any, settings: PredictionSettings) -> _Rows:
    components = question(prepared, text, score=score, truncate=settings.truncate)
    instead = references_of(prepared, components, settings.reference)[0]
    accuracy = Accuracy(settings.tol, settings.max_points, settings.points or POINTS)
    with exact_mode(prepared.home):
        copy = prepared.now()
        with copy.placement.running():
            runs, built = taken_apart(copy, components, instead, settings)
            change = (built.scores[0] - built.scores[1]).double().cpu()
            result = chain(built.graph, change, accuracy, runs.model)
    return _Rows(result.by_depth[:, 0].cpu(), result.error.cpu(), change)
