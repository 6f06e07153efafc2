"""The strongest links of a prediction's graph, and at every node the sum of those that are left out."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from math import fsum

from ligflow.results.prediction_graph import Link, Name, Node, PredictionGraph

LEFT_OUT = "left out"


def strongest_links(graph: PredictionGraph, mass: float) -> tuple[PredictionGraph, float]:
    """The graph with the links by which `mass` of what heads and MLPs carry is kept, and the share that is.

    Links `e` from tokens to heads and the relevance `R` of MLPs are kept from a size on, so chosen that their
    `Σ |e| + Σ |R|` is at least `mass` of that of all. What else arrives at a node arrives from a node
    `("left out", layer, k)` of its token, so that what arrives is the node's relevance, as before. An MLP
    that is left out is a part of the residual beside it, and the `middle` below it is one with what is above.
    """
    carried = [link for link in graph.links if link.kind == "edge" or link.source[0] == "mlp"]
    sizes = [abs(link.relevance) for link in carried]
    least = _least(sizes, mass)
    strong = {
        link.target if link.kind == "edge" else link.source
        for link, size in zip(carried, sizes, strict=True)
        if size >= least
    }
    beside = _weak_mlps(graph, strong)
    above = {lower: upper for lower, upper in beside if lower[0] == "middle"}
    links: list[Link] = []
    lost: defaultdict[tuple[Name, Name], float] = defaultdict(float)
    for link in _past_weak_mlps(graph.links, strong, beside):
        link = replace(link, target=above.get(link.target, link.target))
        head = link.target if link.kind == "edge" else link.source if "head" in link.kind else None
        if head is None or (head in strong and (link.kind != "edge" or abs(link.relevance) >= least)):
            links.append(link)
        elif link.kind != "edge" or head in strong:
            lost[_left_out(graph.nodes[head]), link.target] += link.relevance
    links += [Link(source, target, LEFT_OUT, size) for (source, target), size in lost.items()]
    whole = fsum(sizes)
    share = fsum(size for size in sizes if size >= least) / whole if whole else 1.0
    return _of_links(graph, [link for link in links if link.relevance]), share


def _least(sizes: Sequence[float], mass: float) -> float:
    """The size from which on sizes make up `mass` of all."""
    if mass == 1:
        return 0.0
    ordered = sorted(sizes, reverse=True)
    wanted = mass * fsum(ordered)
    sums = zip(ordered, accumulate(ordered), strict=True)
    return next((size for size, total in sums if total >= wanted), 0.0)


def _weak_mlps(graph: PredictionGraph, strong: Collection[Name]) -> dict[tuple[Name, Name], float]:
    """The relevance of MLPs that are not strong, by the nodes below and above them."""
    below = {link.target: link.source for link in graph.links if link.target[0] == "mlp"}
    return {
        (below[link.source], link.target): link.relevance
        for link in graph.links
        if link.source[0] == "mlp" and link.source not in strong
    }


def _past_weak_mlps(
    links: Sequence[Link], strong: Collection[Name], beside: Mapping[tuple[Name, Name], float]
) -> Iterator[Link]:
    """The links without weak MLPs, whose relevance goes with the residual; none from a `middle` to itself."""
    for link in links:
        ends = link.source, link.target
        if any(name[0] == "mlp" and name not in strong for name in ends):
            continue
        if ends not in beside:
            yield link
        elif link.source[0] != "middle":
            yield replace(link, relevance=link.relevance + beside[ends])


def _left_out(head: Node) -> Name:
    """The node of what is left out of a layer at a token, where a head writes."""
    assert head.layer is not None
    return LEFT_OUT, head.layer, head.position


def _of_links(graph: PredictionGraph, links: list[Link]) -> PredictionGraph:
    """The links with the nodes that they join; a node of what is left out has the sum of its links."""
    names = dict.fromkeys(name for link in links for name in (link.source, link.target))
    left: defaultdict[Name, float] = defaultdict(float)
    for link in links:
        if link.kind == LEFT_OUT:
            left[link.source] += link.relevance
    nodes = {
        name: Node(LEFT_OUT, int(name[2]), left[name], int(name[1])) if name in left else graph.nodes[name]
        for name in names
    }
    return PredictionGraph(nodes, links)
