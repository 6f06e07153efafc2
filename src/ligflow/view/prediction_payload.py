"""A prediction as the bytes that its page reads: all numbers in float32, and the strongest edges of heads."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from ligflow.method.attention_parts import PARTS
from ligflow.results.answer_probability import answer_probabilities
from ligflow.results.flow_header import PREDICTION
from ligflow.results.neurons import strongest_units, unit_called
from ligflow.results.prediction_data import PredictionData
from ligflow.results.prediction_file import WHOLE, labels_of
from ligflow.results.span_relevance import by, known_spans
from ligflow.view import features
from ligflow.view import prediction_words as words

EDGE_BYTES = 320 * 2**10  # what the edges of a page may take
_LISTED = 20  # hidden units of a layer, features of a dictionary
_NODES = ("heads", "cross_heads", "mlps", "residual", "routing")


def pack(prediction: PredictionData, edge_bytes: int = EDGE_BYTES) -> bytes:
    """The prediction as a safetensors file in memory, whose header has what the page says beside `labels_of`.

    Of the edges the strongest are kept, exact, as many as `edge_bytes` take: `edges.3` are those of layer 3,
    `edges.3.at` their places `(head tokens + target) tokens + source`, `parts.3` their value, key and query.
    `edge_mass` in the header is how much of all their magnitudes is kept.
    """
    tensors = {name: getattr(prediction, name) for name in WHOLE}
    for name in _NODES:
        tensors |= {f"{name}.{layer}": part for layer, part in getattr(prediction, name).items()}
    edges, mass = _edges(prediction, edge_bytes)
    masses = {"edge_mass": mass, "edge_masses": _masses(prediction)}
    header = labels_of(prediction) | {"stored_features": [], "page": _page(prediction) | masses}
    numbers = {name: tensor.detach().cpu().float().contiguous() for name, tensor in tensors.items()}
    return save(numbers | edges, metadata={PREDICTION: json.dumps(header, ensure_ascii=False)})


def _edges(prediction: PredictionData, room: int) -> tuple[dict[str, Tensor], list[float]]:
    """The strongest edges of all layers, and their magnitudes beside those of all."""
    parts = prediction.parts
    sizes = {
        layer: torch.maximum(edges.abs(), parts[layer].abs().sum(0)) if layer in parts else edges.abs()
        for layer, edges in prediction.stored_edges.items()
    }
    if not sizes:
        return {}, [0.0, 0.0]
    every = torch.cat([size.flatten() for size in sizes.values()])
    count = room // (4 * (2 + len(PARTS) * bool(parts)))
    least = float(every.topk(count).values[-1]) if count < len(every) else 0.0
    tensors: dict[str, Tensor] = {}
    for layer, size in sizes.items():
        at = ((size >= least) & (size > 0)).flatten().nonzero()[:, 0]
        tensors[f"edges.{layer}.at"] = at.to(torch.int32).cpu()
        tensors[f"edges.{layer}"] = prediction.stored_edges[layer].flatten()[at].float().cpu()
        if layer in parts:
            tensors[f"parts.{layer}"] = parts[layer].flatten(1)[:, at].float().contiguous().cpu()
    kept = sum(float(t.abs().sum(dtype=torch.float64)) for n, t in tensors.items() if _is_edges(n))
    total = sum(float(e.abs().sum(dtype=torch.float64)) for e in prediction.stored_edges.values())
    return tensors, [min(kept, total), total]


def _masses(prediction: PredictionData) -> dict[str, list[list[float]]]:
    """The magnitudes of all edges of each head, and of their value, key and query where these are stored."""
    return {
        str(layer): [
            part.abs().sum((-2, -1), dtype=torch.float64).tolist()
            for part in (edges, *prediction.parts.get(layer, ()))
        ]
        for layer, edges in prediction.stored_edges.items()
    }


def _is_edges(name: str) -> bool:
    return name.startswith("edges.") and not name.endswith(".at")


def _page(prediction: PredictionData) -> dict[str, Any]:
    """What the page says in words, and what its tokens add up to."""
    units = words.units(prediction)
    names = words.called_apart(units)
    return {
        "compared": [*_compared(prediction)],
        "asked": words.plain(str(prediction.meta.get("question") or "")),
        "probabilities": answer_probabilities(prediction),
        "question": words.question_called(prediction),
        "reference": words.reference_called(prediction),
        "contrast": prediction.meta.get("settings", {}).get("contrast") is not None,
        "adds_up": words.adds_up(prediction),
        "met": words.within_tolerance(prediction),
        "missed": [*words.missed(prediction)],
        "caveat": words.CAVEAT,
        "parts_note": words.PARTS,
        "unit": words.units_called(prediction),
        "units": [[name, list(unit.positions)] for name, unit in zip(names, units, strict=True)],
        "labels": words.tokens_called(prediction.tokens),
        "pieces": words.running(prediction.tokens),
        "layers": [words.layer_called(prediction, layer) for layer in range(len(prediction.layer_names))],
        "outputs": [words.plain(text) for text, _ in prediction.top],
        "reference_outputs": [words.plain(text) for text, _ in prediction.reference_top],
        "spans": {
            name: [[span.name, list(span.positions)] for span in by(prediction, name)]
            for name in known_spans(prediction)
            if name != "words"
        },
        "hidden_units": dict(_hidden_units(prediction)),
        "features": [_features(prediction, number) for number in range(len(prediction.stored_features))],
    }


def _compared(prediction: PredictionData) -> Iterator[str]:
    """What the two runs say of what was asked, and what the words share out."""
    shares, name = answer_probabilities(prediction), words.question_called(prediction)
    reference, unit = words.reference_called(prediction), words.units_called(prediction)
    if shares is None or not prediction.meta.get("question"):
        yield f"{name}: {prediction.value:.4g}, and {prediction.reference_value:.4g} with {reference}"
        yield f"the {unit}s share out this change, {prediction.change:+.4g}"
    else:
        asked = words.shown(str(prediction.meta["question"]))
        yield f"‘{asked}’ has {words.percent(shares[0])}; with {reference} it has {words.percent(shares[1])}"
        yield (
            f"the {unit}s share out this change: {prediction.change:+.4g} in log-probability (nats; +0.69 "
            "doubles the probability)"
        )
    totals = prediction.meta.get("totals", [])
    if len(totals) > 1:
        each = ", ".join(f"{total:+.3g}" for total in totals)
        yield f"this is the mean over {len(totals)} references, with which it changes by {each}"


def _hidden_units(prediction: PredictionData) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The strongest hidden units of each layer that has some, and what all of them sum to."""
    for layer, relevance in prediction.stored_neurons.items():
        groups = prediction.unit_groups(layer)
        rows = []
        for position, unit, value in strongest_units(relevance, _LISTED):
            own, other = prediction.stored_activations[layer][:, position, unit].tolist()
            rows.append([unit_called(groups, unit), position, value, own, other])
        yield str(layer), {"rows": rows, "total": float(relevance.sum()), "count": relevance.shape[-1]}


def _features(prediction: PredictionData, number: int) -> dict[str, Any]:
    """The strongest features of a dictionary, and what is said beside them."""
    own = prediction.stored_features[number]
    rows = [
        [features.called(row), row.position, row.relevance, row.activation, row.reference_activation]
        for row in own.rows()[:_LISTED]
    ]
    return {"title": features.title(own), "said": [*features.said(own, _LISTED)], "rows": rows}
