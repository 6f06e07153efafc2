"""Which tokens of two texts make them similar together: the bilinear split of a cosine [moeller2023].

With `e` the normalised vector of a text, `e - e° = J̄ Δx` splits into tokens on either side, so that

    s(a, b) - s(a, b°) - s(a°, b) + s(a°, b°) = (e_a - e_a°) . (e_b - e_b°) = Σ_jk (J̄_a Δa_j) . (J̄_b Δb_k)
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ligflow.devices.precision import exact_mode
from ligflow.errors import CompletenessWarning, warn
from ligflow.explainer.prepared_model import PreparedModel
from ligflow.inputs.checks import Inputs
from ligflow.prediction.chain import Accuracy, chain
from ligflow.prediction.chain_settings import ChainSettings
from ligflow.prediction.explain import taken_apart
from ligflow.prediction.references import reference as references_of
from ligflow.prediction.targets import question

POINTS = 7  # of every segment, where no number is given: components are many, and each of them is small
Vector = Callable[[Any], Float[Tensor, "point width"]]


def similar_pairs(
    prepared: PreparedModel,
    text: Inputs,
    other: Inputs,
    vector: Vector,
    reference: Any,
    settings: ChainSettings,
    truncate: bool,
) -> tuple[Float[Tensor, "text other"], float]:
    """What each pair of tokens contributes, and what all pairs sum to by the two texts' vectors alone.

    It takes a chain with a row for each component of a vector, and one with a row for each token.
    """

    def unit(outputs: Any) -> Float[Tensor, "point width"]:
        return torch.nn.functional.normalize(vector(outputs), dim=-1)

    by_component, change = _rows(prepared, text, unit, reference, settings, truncate)

    def along(outputs: Any) -> Float[Tensor, "point row"]:
        """The other text's vector along what each token of the first does; the last row along all it did."""
        made = unit(outputs)
        return made @ torch.cat([by_component.T, change[None]]).T.to(made)

    pairs, total = _rows(prepared, other, along, reference, settings, truncate)
    _warn_missed(float(pairs[:-1].sum()), float(total[-1]), float(pairs[:-1].abs().sum()), settings.tol)
    return pairs[:-1], float(total[-1])


def _warn_missed(found: float, wanted: float, size: float, tol: float) -> None:
    """Warns (CompletenessWarning) where pairs do not add up to what they should."""
    off = abs(found - wanted) / max(abs(wanted), size, 1e-300)
    if off > tol:
        warn(
            f"The pairs add up to {found:.4g} of {wanted:.4g}, off by {off:.1e} of their size, more than the "
            f"tolerance {tol:.1e}; take more points: points=31.",
            CompletenessWarning,
        )


def _rows(
    prepared: PreparedModel, text: Inputs, score: Any, reference: Any, settings: ChainSettings, truncate: bool
) -> tuple[Float[Tensor, "row token"], Float[Tensor, " row"]]:
    """What each token contributes to each number of a score, and the change of each."""
    components = question(prepared, text, score=score, truncate=truncate)
    instead = references_of(prepared, components, reference)[0]
    accuracy = Accuracy(settings.tol, settings.max_points, settings.points or POINTS)
    with exact_mode(prepared.home):
        copy = prepared.now()
        with copy.placement.running():
            runs, built = taken_apart(copy, components, instead, settings)
            change = (built.scores[0] - built.scores[1]).double().cpu()
            result = chain(built.graph, change, accuracy, runs.model)
    return result.by_depth[:, 0].cpu(), change
