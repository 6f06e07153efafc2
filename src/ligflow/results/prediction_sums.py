"""Sums of explanations: the mean over several references, the total over the tokens of an answer."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ligflow.errors import LigflowError
from ligflow.inputs.character_pieces import joined
from ligflow.results.features import summed
from ligflow.results.prediction_data import AnyPrediction, PredictionData, SegmentCertificate

_BY_LAYER = ("heads", "cross_heads", "mlps", "residual", "routing", "stored_edges", "parts")
_UNITS = ("stored_neurons", "stored_activations")
_SAME = ("tokens", "cuts", "layer_names", "streams")
_SETTINGS = ("cut", "attention", "experts", "score")


def mean(predictions: Sequence[AnyPrediction]) -> AnyPrediction:
    """Relevance `1/n Σ_r R_r` over the references, with the error `1/n (Σ_r error_r²)^½` of its tokens.

    `kept` are the tokens that no reference moves; a part that a reference lacks counts as 0. The mean's
    `meta` has the `totals`, the change for each reference, and `relevance_sd`, by token, where there are two
    or more; its `reference_top` is the likeliest output for each reference.

    Raises LigflowError without a prediction, and for those of other tokens, cuts or scores.
    """
    first = _first(predictions, "mean")
    for other in predictions:
        if first.meta.get("question") != other.meta.get("question") or first.value != other.value:
            raise LigflowError(
                "These predictions explain other scores; take the mean of those of one question."
            )
        for name in _SETTINGS:
            ours, theirs = (p.meta.get("settings", {}).get(name) for p in (first, other))
            if ours != theirs:
                raise LigflowError(
                    f"These predictions have {name} {ours!r} and {theirs!r}; take the mean of those that are "
                    "explained in one way."
                )
    count = len(predictions)
    return replace(
        first,
        **_sums(predictions, 1 / count),
        error=torch.stack([p.error for p in predictions]).square().sum(0).sqrt() / count,
        value=first.value,
        reference_value=sum(p.reference_value for p in predictions) / count,
        kept=tuple(map(all, zip(*(p.kept for p in predictions), strict=True))),
        certificates=tuple(_certificates(predictions, [f"reference {n}" for n in range(1, count + 1)])),
        reference_top=tuple(output for p in predictions for output in p.reference_top[:1]),
        meta=_meta_of_mean(predictions),
    )


def total(predictions: Sequence[AnyPrediction]) -> AnyPrediction:
    """Relevance `Σ_r R_r` of an answer, over its tokens r, each explained with the same reference.

    Its errors are added as they are, for those of one chain may go the same way; its score is the sum of the
    scores, for log-probabilities that of the whole answer.

    Raises LigflowError without a prediction, and for those of other tokens, cuts or references.
    """
    first = _first(predictions, "total")
    names = [str(p.meta.get("question", "")) for p in predictions]
    return replace(
        first,
        **_sums(predictions, 1.0),
        error=torch.stack([p.error.abs() for p in predictions]).sum(0),
        value=sum(p.value for p in predictions),
        reference_value=sum(p.reference_value for p in predictions),
        certificates=tuple(_certificates(predictions, [f"‘{name}’" for name in names])),
        meta={**first.meta, "question": joined(names), "notes": _notes(predictions)},
    )


def _first(predictions: Sequence[AnyPrediction], what: str) -> AnyPrediction:
    """The first of predictions that are alike in all but their numbers."""
    if not predictions:
        raise LigflowError(f"A {what} of predictions needs at least one.")
    for other in predictions[1:]:
        for name in _SAME:
            if getattr(predictions[0], name) != getattr(other, name):
                raise LigflowError(
                    f"These predictions have other {name}; take the {what} of those of one input."
                )
    return predictions[0]


def _sums(predictions: Sequence[PredictionData], weight: float) -> dict[str, Any]:
    """Weighted sums of what is relevance; a part that a prediction lacks counts as 0."""
    sums: dict[str, Any] = {
        name: torch.stack([getattr(p, name) for p in predictions]).sum(0) * weight
        for name in ("by_depth", "late")
    }
    for name in _BY_LAYER:
        parts: list[Mapping[int, Tensor]] = [getattr(p, name) for p in predictions]
        layers = sorted({layer for part in parts for layer in part})
        sums[name] = {
            layer: torch.stack([part[layer] for part in parts if layer in part]).sum(0) * weight
            for layer in layers
        }
    kept = zip(*(p.stored_features for p in predictions), strict=True)
    return (
        sums | _units(predictions, weight) | {"stored_features": tuple(summed(each, weight) for each in kept)}
    )


def _units(predictions: Sequence[PredictionData], weight: float) -> dict[str, Any]:
    """Weighted sums over hidden units of the layers that all have; of activations the mean."""
    layers = [
        layer
        for layer, first in predictions[0].stored_neurons.items()
        if all(
            layer in p.stored_neurons and p.stored_neurons[layer].shape == first.shape for p in predictions
        )
    ]
    weights = weight, 1 / len(predictions)
    return {
        name: {
            layer: torch.stack([getattr(p, name)[layer] for p in predictions]).sum(0) * share
            for layer in layers
        }
        for name, share in zip(_UNITS, weights, strict=True)
    }


def _certificates(
    predictions: Sequence[PredictionData], names: Sequence[str]
) -> Iterator[SegmentCertificate]:
    """Those of every prediction, with its name where there are several."""
    for name, prediction in zip(names, predictions, strict=True):
        for segment in prediction.certificates:
            yield replace(segment, name=f"{segment.name}, {name}") if len(names) > 1 else segment


def _notes(predictions: Sequence[PredictionData]) -> list[str]:
    return [*dict.fromkeys(note for p in predictions for note in p.meta.get("notes", []))]


def _meta_of_mean(predictions: Sequence[PredictionData]) -> dict[str, Any]:
    meta = {**predictions[0].meta, "notes": _notes(predictions), "totals": [p.change for p in predictions]}
    if len(predictions) > 1:
        meta["reference_tokens"] = None
        meta["relevance_sd"] = torch.stack([p.relevance for p in predictions]).std(0).tolist()
    return meta
