"""A prediction as nodes and links: what carries relevance from the tokens of the input up to the answer."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from torch import Tensor

from ligflow.results.prediction_data import PredictionData
from ligflow.results.prediction_paths import after, own, parts_at

Name = tuple[str | int, ...]


@dataclass(frozen=True)
class Node:
    """A token at a cut, between attention and MLP (`middle`), a head at a token, or an MLP at a token."""

    kind: str
    position: int
    relevance: float
    layer: int | None = None
    head: int | None = None
    cut: str | None = None


@dataclass(frozen=True)
class Link:
    """What `source` hands on to `target` above it; `parts` by value, key and query where these are stored."""

    source: Name
    target: Name
    kind: str
    relevance: float
    parts: dict[str, float] = field(default_factory=dict)


@dataclass(eq=False)
class PredictionGraph:
    """Nodes by name, and links from what is below to what is above.

    Names are `("token", cut, k)`, `("head", layer, h, k)`, `("cross-head", layer, h, k)`, and, where an MLP
    follows the attention, `("middle", layer, k)` between both and `("mlp", layer, k)`. What arrives at a node
    is its relevance, within the certificates. Where an MLP stands beside the attention there is no `middle`.
    """

    nodes: dict[Name, Node] = field(default_factory=dict)
    links: list[Link] = field(default_factory=list)


def graph_of(prediction: PredictionData) -> PredictionGraph:
    """The graph of the layers whose heads are known; they are joined to what they read where it is stored."""
    graph = PredictionGraph()
    for number, (cut, values) in enumerate(zip(prediction.cuts, prediction.by_depth.tolist(), strict=True)):
        for place, relevance in enumerate(values):
            graph.nodes["token", number, place] = Node("token", place, relevance, cut=cut)
    for layer in prediction.heads:
        _add_layer(graph, prediction, layer)
    return graph


def _add_layer(graph: PredictionGraph, prediction: PredictionData, layer: int) -> None:
    below = prediction.cuts.index(f"layer {layer}")
    beside = layer in prediction.meta.get("parallel", ()) or layer not in prediction.mlps
    columns = after(prediction, layer).tolist(), own(prediction, layer).tolist()
    for place, (relevance, rest) in enumerate(zip(*columns, strict=True)):
        lower, upper = ("token", below, place), ("token", below + 1, place)
        if not beside:
            middle = ("middle", layer, place)
            graph.nodes[middle] = Node("middle", place, relevance, layer)
            _add_mlp(graph, prediction, layer, middle, upper, relevance)
            upper = middle
        if beside and layer in prediction.mlps:
            _add_mlp(graph, prediction, layer, lower, upper, rest)
        else:
            graph.links.append(Link(lower, upper, "residual", rest))
        for number, (kind, head, relevance) in enumerate(_heads_at(prediction, layer, place)):
            if relevance:
                name = (kind, layer, head, place)
                graph.nodes[name] = Node(kind, place, relevance, layer, head)
                graph.links.append(Link(name, upper, kind, relevance))
                graph.links += _read(prediction, layer, number, name, below)


def _add_mlp(
    graph: PredictionGraph, prediction: PredictionData, layer: int, lower: Name, upper: Name, whole: float
) -> None:
    """An MLP from `lower` to `upper`, and what of `whole` passes by it."""
    place = int(lower[-1])
    relevance, name = float(prediction.mlps[layer][place]), ("mlp", layer, place)
    graph.nodes[name] = Node("mlp", place, relevance, layer)
    graph.links.append(Link(lower, name, "mlp", relevance))
    graph.links.append(Link(name, upper, "mlp", relevance))
    graph.links.append(Link(lower, upper, "residual", whole - relevance))


def _heads_at(prediction: PredictionData, layer: int, place: int) -> Iterator[tuple[str, int, float]]:
    """Heads in the order of the stored edges: kind, number, and what each writes at a token."""
    for kind, heads in (("head", prediction.heads), ("cross-head", prediction.cross_heads)):
        values: Tensor | None = heads.get(layer)
        for head, relevance in enumerate([] if values is None else values[:, place].tolist()):
            yield kind, head, relevance


def _read(prediction: PredictionData, layer: int, number: int, head: Name, below: int) -> Iterator[Link]:
    """From the tokens that a head reads, where that is stored."""
    edges, target = prediction.stored_edges.get(layer), int(head[-1])
    if edges is None:
        return
    row = edges[number, target]
    sources = row.nonzero().flatten()
    for source, relevance in zip(sources.tolist(), row[sources].tolist(), strict=True):
        parts = parts_at(prediction, layer, number, target, source)
        yield Link(("token", below, source), head, "edge", relevance, parts)
