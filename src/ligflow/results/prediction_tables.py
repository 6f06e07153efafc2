"""A prediction as a table (pandas), as a graph (networkx), or as JSON."""

from collections.abc import Iterator
from typing import Any

import networkx
import pandas
from torch import Tensor

from ligflow.method.attention_parts import PARTS
from ligflow.results.features import NODES, Features
from ligflow.results.neurons import unit_called
from ligflow.results.prediction_data import PredictionData
from ligflow.results.prediction_graph import graph_of

COLUMNS = (
    "kind", "cut", "layer", "head", "position", "token", "source_position", "source",
    "relevance", "error", "kept", "unit", "unit_name", "activation", "reference_activation",
    "dictionary",
)  # fmt: skip
_TYPES = {
    **dict.fromkeys(("kind", "cut", "token", "source", "unit_name", "dictionary"), "string"),
    **dict.fromkeys(("layer", "head", "position", "source_position", "unit"), "Int64"),
    **dict.fromkeys(("relevance", "error", "activation", "reference_activation"), "float64"),
    "kept": "boolean",
}
KINDS = {  # of nodes with a number for each token, by the name of their field
    "heads": "head",
    "cross_heads": "cross-head",
    "mlps": "mlp",
    "residual": "residual",
    "routing": "routing",
}


def to_pandas(prediction: PredictionData) -> pandas.DataFrame:
    """One row a node: `token` at the input, `depth` at a cut, `head`, `mlp`, `residual`, `routing`, `edge`.

    The rows of `token` sum to `change`, and so do those of each cut; an edge that is 0 has no row. Where
    edges are stored in parts there are rows `value`, `key` and `query`, which sum to the same by head; where
    hidden units are stored, rows `neuron` of all that have any relevance, which sum to the MLP's.
    Features of dictionaries are rows `feature`; with `feature rest`, `feature bias` and others they sum to
    what their hook point contributes.
    """
    columns: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    for row in _rows(prediction):
        for name, column in columns.items():
            column.append(row.get(name))
    return pandas.DataFrame(columns).astype(_TYPES)


def _rows(prediction: PredictionData) -> Iterator[dict[str, Any]]:
    columns = prediction.relevance.tolist(), prediction.error.tolist(), prediction.kept
    for place, (relevance, error, kept) in enumerate(zip(*columns, strict=True)):
        yield _row(prediction, "token", place, relevance) | {"error": error, "kept": kept}
    for cut, values in zip(prediction.cuts, prediction.by_depth, strict=True):
        yield from (row | {"cut": cut} for row in _by_token(prediction, "depth", values))
    for field, kind in KINDS.items():
        for layer, values in getattr(prediction, field).items():
            yield from (row | {"layer": layer} for row in _by_head(prediction, kind, values))
    for layer, edges in prediction.stored_edges.items():
        yield from _by_edge(prediction, layer, "edge", edges)
    for layer, parts in prediction.parts.items():
        for name, part in zip(PARTS, parts, strict=True):
            yield from _by_edge(prediction, layer, name, part)
    for layer in prediction.stored_neurons:
        yield from _by_unit(prediction, layer)
    for features in prediction.stored_features:
        yield from _by_feature(prediction, features)


def _by_feature(prediction: PredictionData, features: Features) -> Iterator[dict[str, Any]]:
    """Features by size, and the nodes beside them, which sum to what their hook point contributes."""
    for entry in features.rows():
        yield _row(prediction, "feature", entry.position, entry.relevance) | {
            "dictionary": features.dictionary, "unit": entry.feature, "unit_name": entry.name or None,
            "activation": entry.activation, "reference_activation": entry.reference_activation,
        }  # fmt: skip
    for name in NODES:
        for place, relevance in enumerate(getattr(features, name).tolist()):
            if relevance:
                yield _row(prediction, f"feature {name}", place, relevance) | {
                    "dictionary": features.dictionary
                }


def _by_unit(prediction: PredictionData, layer: int) -> Iterator[dict[str, Any]]:
    relevance, activations = prediction.stored_neurons[layer], prediction.stored_activations[layer]
    names = [unit_called(prediction.unit_groups(layer), unit) for unit in range(relevance.shape[1])]
    for place, unit in relevance.nonzero().tolist():
        own, other = activations[:, place, unit].tolist()
        yield _row(prediction, "neuron", place, float(relevance[place, unit])) | {
            "layer": layer, "unit": unit, "unit_name": names[unit], "activation": own,
            "reference_activation": other,
        }  # fmt: skip


def _by_edge(prediction: PredictionData, layer: int, kind: str, edges: Tensor) -> Iterator[dict[str, Any]]:
    for head, target, source in edges.nonzero().tolist():
        row = _row(prediction, kind, target, float(edges[head, target, source]))
        yield row | {"layer": layer, "head": head} | _source(prediction, source)


def _by_head(prediction: PredictionData, kind: str, values: Tensor) -> Iterator[dict[str, Any]]:
    if values.ndim == 1:
        yield from _by_token(prediction, kind, values)
        return
    for head, part in enumerate(values):
        yield from (row | {"head": head} for row in _by_token(prediction, kind, part))


def _by_token(prediction: PredictionData, kind: str, values: Tensor) -> Iterator[dict[str, Any]]:
    for place, relevance in enumerate(values.tolist()):
        yield _row(prediction, kind, place, relevance)


def _row(prediction: PredictionData, kind: str, place: int, relevance: float) -> dict[str, Any]:
    return {"kind": kind, "position": place, "token": prediction.tokens[place], "relevance": relevance}


def _source(prediction: PredictionData, place: int) -> dict[str, Any]:
    return {"source_position": place, "source": prediction.tokens[place]}


def to_networkx(prediction: PredictionData) -> networkx.DiGraph:
    """What carries relevance: tokens at every cut, and the heads and MLPs of the layers between.

    Nodes are named as in `PredictionGraph`. Each has its `kind`, `token`, `layer` and `relevance`, and so has
    each edge, from what is below to what is above; what arrives at a node is its relevance, within the
    certificates. Heads are joined to the tokens that they read where edges are stored, with `value`, `key`
    and `query` where parts are.
    """
    data, tokens = graph_of(prediction), prediction.tokens
    graph = networkx.DiGraph(model=str(prediction.meta.get("model")), change=prediction.change)
    for name, node in data.nodes.items():
        known = {key: value for key, value in vars(node).items() if value is not None}
        graph.add_node(name, token=tokens[node.position], **known)
    for link in data.links:
        graph.add_edge(link.source, link.target, kind=link.kind, relevance=link.relevance, **link.parts)
    return graph
