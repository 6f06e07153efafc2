"""A prediction as JSON: labels, scores, relevance by token and cut, and the parts of every layer."""

import json
from dataclasses import asdict
from typing import Any

from ligflow.method.attention_parts import PARTS
from ligflow.results.feature_json import for_json
from ligflow.results.prediction_data import PredictionData
from ligflow.results.prediction_file import BY_LAYER


def as_json(prediction: PredictionData) -> str:
    """All numbers as nested lists; the parts of layers by the layer's number."""
    numbers: dict[str, Any] = {
        "relevance": prediction.relevance.tolist(),
        "error": prediction.error.tolist(),
        "by_depth": prediction.by_depth.tolist(),
        "late": prediction.late.tolist(),
    }
    for field in BY_LAYER:
        parts = getattr(prediction, field)
        numbers[field.removeprefix("stored_")] = {layer: part.tolist() for layer, part in parts.items()}
    numbers["parts"] = {
        layer: {name: part.tolist() for name, part in zip(PARTS, parts, strict=True)}
        for layer, parts in prediction.parts.items()
    }
    numbers["features"] = [for_json(features) for features in prediction.stored_features]
    labels = {
        "tokens": list(prediction.tokens),
        "special": list(prediction.special),
        "kept": list(prediction.kept),
        "value": prediction.value,
        "reference_value": prediction.reference_value,
        "change": prediction.change,
        "certificate": prediction.certificate,
        "top": prediction.top,
        "reference_top": prediction.reference_top,
        "cuts": list(prediction.cuts),
        "layer_names": prediction.layer_names,
        "streams": prediction.streams,
        "certificates": [asdict(segment) for segment in prediction.certificates],
        "meta": dict(prediction.meta),
    }
    return json.dumps(labels | numbers, ensure_ascii=False)
