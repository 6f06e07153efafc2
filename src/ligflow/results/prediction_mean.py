"""The mean of a prediction's explanations over several references."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ligflow.errors import LigflowError
from ligflow.results.prediction_data import AnyPrediction, PredictionData, SegmentCertificate

_BY_LAYER = ("heads", "cross_heads", "mlps", "residual", "routing", "stored_edges")
_SAME = ("tokens", "cuts", "layer_names", "streams")


def mean(predictions: Sequence[AnyPrediction]) -> AnyPrediction:
    """Relevance `1/n Σ_r R_r` over the references, with the error `1/n (Σ_r error_r²)^½` of its tokens.

    `kept` are the tokens that no reference moves; a part that a reference lacks counts as 0. The mean's
    `meta` has the `totals`, the change for each reference, and `relevance_sd`, by token, where there are two
    or more; its `reference_top` is the likeliest output for each reference.

    Raises LigflowError without a prediction, and for those of other tokens, cuts or scores.
    """
    if not predictions:
        raise LigflowError("A mean of predictions needs at least one.")
    first = predictions[0]
    for other in predictions[1:]:
        _check_same(first, other)
    by_layer: dict[str, Any] = {
        name: _mean_by_layer([getattr(p, name) for p in predictions]) for name in _BY_LAYER
    }
    numbers: dict[str, Any] = {
        "by_depth": torch.stack([p.by_depth for p in predictions]).mean(0),
        "late": torch.stack([p.late for p in predictions]).mean(0),
        "error": torch.stack([p.error for p in predictions]).square().sum(0).sqrt() / len(predictions),
        "reference_value": sum(p.reference_value for p in predictions) / len(predictions),
    }
    labels: dict[str, Any] = {
        "kept": tuple(map(all, zip(*(p.kept for p in predictions), strict=True))),
        "certificates": tuple(_certificates(predictions)),
        "reference_top": tuple(output for p in predictions for output in p.reference_top[:1]),
        "meta": _meta(predictions),
    }
    return replace(first, **by_layer, **numbers, **labels)


def _check_same(first: PredictionData, other: PredictionData) -> None:
    for name in _SAME:
        if getattr(first, name) != getattr(other, name):
            raise LigflowError(f"These predictions have other {name}; take the mean of those of one input.")
    if first.meta.get("question") != other.meta.get("question") or first.value != other.value:
        raise LigflowError("These predictions explain other scores; take the mean of those of one question.")


def _mean_by_layer(parts: Sequence[Mapping[int, Tensor]]) -> dict[int, Tensor]:
    """By layer, over those that some reference has: a layer that does not move has no part."""
    layers = sorted({layer for part in parts for layer in part})
    sums = {layer: [part[layer] for part in parts if layer in part] for layer in layers}
    return {layer: torch.stack(every).sum(0) / len(parts) for layer, every in sums.items()}


def _certificates(predictions: Sequence[PredictionData]) -> Iterator[SegmentCertificate]:
    """Those of every reference, named with its number where there are several."""
    for number, prediction in enumerate(predictions, 1):
        for segment in prediction.certificates:
            name = f"{segment.name}, reference {number}" if len(predictions) > 1 else segment.name
            yield replace(segment, name=name)


def _meta(predictions: Sequence[PredictionData]) -> dict[str, Any]:
    several = len(predictions) > 1
    notes = dict.fromkeys(note for p in predictions for note in p.meta.get("notes", []))
    meta = {**predictions[0].meta, "notes": [*notes], "totals": [p.change for p in predictions]}
    if several:
        meta["reference_tokens"] = None
        meta["relevance_sd"] = torch.stack([p.relevance for p in predictions]).std(0).tolist()
    return meta
