"""A prediction as the attribution graph that other people's viewers read: circuit-tracer's and Neuronpedia's.

The form is that of [ameisen2025]: a JSON object of `metadata`, `qParams`, `nodes` and `links`. Viewers
read a node's place off `layer` and `ctx_idx`, and the probability of an answer off its label.
"""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from ligflow._version import __version__
from ligflow.errors import LigflowError
from ligflow.files import write_text
from ligflow.inputs.labels import printable, trimmed
from ligflow.results.answer_probability import answer_probabilities
from ligflow.results.prediction_data import PredictionData
from ligflow.results.prediction_graph import Link, Name, Node, PredictionGraph, graph_of
from ligflow.results.strongest_links import LEFT_OUT, strongest_links

_ANSWER: Name = ("answer",)
_TYPES = {
    "token": "residual stream",
    "middle": "residual stream",
    "head": "attention head",
    "cross-head": "attention head",
    "mlp": "mlp",
    LEFT_OUT: "left out (error)",  # viewers count a type with this word as what the graph does not explain
}
_MEANING = (
    "Weights are signed parts of the change of the score from a reference run to the input, and what arrives "
    "at a node is its relevance. They are no direct effects of one node on another through a linear model: "
    "links join a node to what it reads from, and what a token carries itself is a node 'residual stream'. "
    "{share:.1%} of what heads and MLPs carry is drawn; the sums of the rest are in nodes 'left out'."
)


def attribution_graph(prediction: PredictionData, mass: float = 0.8) -> dict[str, Any]:
    """The graph of the strongest links: at least `mass` of what heads and MLPs carry, and sums of the rest.

    Links into a node sum to its relevance, with those of what is left out, which `strongest_links` describes.
    Raises LigflowError for a share that is none, and unless what the heads of all layers read is stored.
    """
    if isinstance(mass, bool) or not isinstance(mass, int | float) or not 0 < mass <= 1:
        raise LigflowError(f"mass is {mass!r}; give the share that is drawn, above 0 and up to 1.")
    _check_edges(prediction)
    graph, share = strongest_links(graph_of(prediction), mass)
    links = _from_embeddings_to_answer(prediction, graph.links)
    nodes = _nodes(prediction, graph)
    ids = {name: node["node_id"] for name, node in nodes.items()}
    return {
        "metadata": _metadata(prediction, share),
        "qParams": {
            "pinnedIds": [],
            "supernodes": [],
            "linkType": "both",
            "clickedId": ids[_ANSWER],
            "sg_pos": "",
        },
        "nodes": list(nodes.values()),
        "links": [
            {"source": ids[link.source], "target": ids[link.target], "weight": link.relevance}
            for link in links
        ],
    }


def save_attribution_graph(prediction: PredictionData, path: str | Path, mass: float = 0.8) -> Path:
    """The graph in a JSON file. Raises LigflowError as `attribution_graph`, and if it cannot be written."""
    text = json.dumps(attribution_graph(prediction, mass), ensure_ascii=False, allow_nan=False)
    return write_text(path, text + "\n")


def _check_edges(prediction: PredictionData) -> None:
    count = len(prediction.layer_names)
    lacking = [layer for layer in range(count) if layer not in prediction.stored_edges]
    if lacking or not count:
        raise LigflowError(
            f"A graph joins heads to what they read, which is stored of {count - len(lacking)} of {count} "
            "layers: explain_prediction(..., edges='all'), on the command line --edges all. A layer that "
            "cannot be taken apart has none, and a prediction with one has no such graph."
        )


def _from_embeddings_to_answer(prediction: PredictionData, links: list[Link]) -> list[Link]:
    """The links, from the embeddings instead of the tokens below the first layer, and up to the answer."""
    first, last = prediction.cuts.index("layer 0"), len(prediction.cuts) - 1
    below = [
        replace(link, source=("token", 0, link.source[2])) if link.source[:2] == ("token", first) else link
        for link in links
    ]
    top = prediction.by_depth[last].tolist()
    return below + [
        Link(("token", last, place), _ANSWER, "answer", relevance)
        for place, relevance in enumerate(top)
        if relevance
    ]


def _nodes(prediction: PredictionData, graph: PredictionGraph) -> dict[Name, dict[str, Any]]:
    """Nodes by name, as viewers read them: all embeddings, what is linked, and the answer."""
    first, last = prediction.cuts.index("layer 0"), len(prediction.cuts) - 1
    relevance = enumerate(prediction.relevance.tolist())
    nodes: dict[Name, dict[str, Any]] = {
        ("token", 0, place): _embedding(prediction, place, value) for place, value in relevance
    }
    for name, node in graph.nodes.items():
        if name[:2] != ("token", first):
            layer = int(name[1]) - first - 1 if node.layer is None else node.layer
            nodes[name] = _inner(prediction, node, layer)
    for place, value in enumerate(prediction.by_depth[last].tolist()):
        if value:
            nodes["token", last, place] = _inner(prediction, Node("token", place, value), last - first - 1)
    return nodes | {_ANSWER: _answer(prediction)}


def _embedding(prediction: PredictionData, place: int, relevance: float) -> dict[str, Any]:
    label = f"‘{trimmed(prediction.tokens[place])}’ {relevance:+.3g}"
    return _node(f"E_{place}_{place}", place, "E", place, "embedding", label, relevance)


def _inner(prediction: PredictionData, node: Node, layer: int) -> dict[str, Any]:
    """A node of a layer; heads have their own numbers, those of a second attention and others come after."""
    own, cross = (len(heads.get(layer, ())) for heads in (prediction.heads, prediction.cross_heads))
    after = own + cross
    number, what = {
        "head": (node.head or 0, f"head {node.head} at"),
        "cross-head": (own + (node.head or 0), f"head {node.head} of the second attention at"),
        "mlp": (after, "MLP at"),
        "middle": (after + 1, "residual stream, after attention, at"),
        "token": (after + 2, "residual stream at"),
        LEFT_OUT: (after + 3, "left out: all weaker links to"),
    }[node.kind]
    label = f"layer {layer}, {what} ‘{trimmed(prediction.tokens[node.position])}’ {node.relevance:+.3g}"
    name = f"{layer}_{number}_{node.position}"
    return _node(name, number, str(layer), node.position, _TYPES[node.kind], label, node.relevance)


def _answer(prediction: PredictionData) -> dict[str, Any]:
    layer, place = len(prediction.layer_names), int(prediction.by_depth[-1].abs().argmax())
    name = printable(str(prediction.meta.get("question") or "the score")).replace('"', "'")
    chance = _probability(prediction)
    said = f"(p={'unknown' if chance is None else f'{chance:.3f}'})"
    node = _node(
        f"{layer}_0_{place}", 0, str(layer), place, "logit", f'Output "{name}" {said}', prediction.change
    )
    return node | {"token_prob": chance or 0.0, "is_target_logit": True}


def _probability(prediction: PredictionData) -> float | None:
    """How probable the answer is in the real run, where that is known."""
    question, shares = prediction.meta.get("question"), answer_probabilities(prediction)
    return shares[0] if shares and question else dict(prediction.top).get(str(question))


def _node(
    name: str, feature: int, layer: str, place: int, kind: str, label: str, relevance: float
) -> dict[str, Any]:
    """What viewers ask of every node, and its relevance, which they leave alone."""
    return {
        "node_id": name, "jsNodeId": name, "feature": feature, "layer": layer, "ctx_idx": place,
        "feature_type": kind, "clerp": label, "token_prob": 0.0, "is_target_logit": False, "run_idx": 0,
        "reverse_ctx_idx": 0, "relevance": relevance,
    }  # fmt: skip


def _metadata(prediction: PredictionData, share: float) -> dict[str, Any]:
    """Where the graph comes from; names with the letters that Neuronpedia takes."""
    text = str(prediction.meta.get("text") or "".join(prediction.tokens))
    model = str(prediction.meta.get("model") or "model")
    settings = prediction.meta.get("settings", {})
    method = {
        name: settings[name] for name in ("reference", "score", "cut", "attention", "tol") if name in settings
    }
    return {
        "slug": _name(f"{text} {prediction.meta.get('question') or ''}"),
        "scan": _name(model.split(":")[-1].rsplit("/", 1)[-1]),
        "transcoder_list": [],
        "prompt_tokens": [printable(token) for token in prediction.tokens],
        "prompt": text,
        "schema_version": 1,
        "info": {
            "description": _MEANING.format(share=share),
            "generator": {"name": "ligflow", "version": __version__},
        },
        "generation_settings": method | {"change": prediction.change, "certificate": prediction.certificate},
        "pruning_settings": {"share_of_heads_and_mlps": share},
    }


def _name(text: str) -> str:
    return re.sub(r"[^a-zA-Z0-9.]+", "-", text).strip("-.")[:80].lower() or "ligflow"
