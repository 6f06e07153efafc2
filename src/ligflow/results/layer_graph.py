"""The graph inside a layer, checked node by node, and graphs as files for other tools."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from math import fsum
from pathlib import Path
from typing import Any

import networkx

from ligflow.errors import LigflowError
from ligflow.files import write_made, write_text
from ligflow.results.flow_data import FlowData


@dataclass(frozen=True)
class Balance:
    """What flows into a node, and what must: the node's total. `head` is None for a z' node."""

    target: int
    head: int | None
    arriving: float
    total: float
    relative: float


@dataclass(frozen=True)
class Parts:
    """What made a target's new vector: its heads (ATT), its residual, and both together, beside the total."""

    target: int
    heads: tuple[float, ...]
    residual: float
    together: float
    total: float


def balance(flow: FlowData, layer: int) -> list[Balance]:
    """Conservation at every node of a layer: u against the totals of z2u, z' against those of u2z.

    `relative` is their difference over the scale of the certificate, that is, the node's certificate.
    """
    row, balances = flow.row(layer), []
    arriving = flow.z2u[row].sum(-1) + flow.hidden("z2u")[row]
    for head in range(flow.heads):
        for place, target in enumerate(flow.targets):
            at = (row, head, place)
            balances.append(_balance(flow, "z2u", at, target, head, float(arriving[head, place])))
    for place, parts in enumerate(contributions(flow, layer)):
        balances.append(_balance(flow, "u2z", (row, place), parts.target, None, parts.together))
    return balances


def _balance(
    flow: FlowData, route: str, at: tuple[int, ...], target: int, head: int | None, arriving: float
) -> Balance:
    total, scale = float(flow.total(route)[at]), float(flow.tensors[f"{route}.scale"][at])
    return Balance(target, head, arriving, total, (arriving - total) / scale)


def contributions(flow: FlowData, layer: int) -> list[Parts]:
    """u2z target by target: each head, the residual, and their sum."""
    row = flow.row(layer)
    heads, residual, total = flow.u2z[row].T, flow.u2z_residual[row], flow.total("u2z")[row]
    together = heads.sum(-1) + residual
    return [
        Parts(target, tuple(heads[p].tolist()), float(residual[p]), float(together[p]), float(total[p]))
        for p, target in enumerate(flow.targets)
    ]


def save_graph(graph: networkx.DiGraph, path: str | Path) -> Path:
    """A graph as GraphML (Gephi, Cytoscape, igraph) or as node-link JSON, by the end of the name.

    Raises LigflowError for another end, or if the file cannot be written.
    """
    path = Path(path)
    writers: dict[str, Callable[[networkx.DiGraph, Path], Path]] = {".graphml": _graphml, ".json": _json}
    if path.suffix.lower() not in writers:
        raise LigflowError(f"Cannot save a graph as {path.name!r}; end it in {' or '.join(writers)}.")
    return writers[path.suffix.lower()](_named(graph), path)


def _named(graph: networkx.DiGraph) -> networkx.DiGraph:
    """Nodes as texts, since files have no tuples: ("u", 3, 5) is "u:3:5"."""
    names = {node: node if isinstance(node, str) else ":".join(map(str, node)) for node in graph}
    return networkx.relabel_nodes(graph, names)


def _graphml(graph: networkx.DiGraph, path: Path) -> Path:
    plain = networkx.DiGraph(**{key: _clean(value) for key, value in graph.graph.items()})
    for node, data in graph.nodes(data=True):
        plain.add_node(node, **{key: _clean(value) for key, value in data.items()})
    plain.add_edges_from(graph.edges(data=True))
    return write_made(path, lambda file: networkx.write_graphml_xml(plain, file))


def _clean(value: Any) -> Any:
    """XML cannot hold control characters, not even escaped; they are shown as escapes."""
    from ligflow.inputs.labels import printable

    return printable(value) if isinstance(value, str) else value


def _json(graph: networkx.DiGraph, path: Path) -> Path:
    data = networkx.node_link_data(graph, edges="edges")
    return write_text(path, json.dumps(data, ensure_ascii=False, allow_nan=False) + "\n")


def strong(graph: networkx.DiGraph, threshold: float) -> networkx.DiGraph:
    """The graph without edges of less than `threshold` of the magnitude that arrives at their node."""
    if not 0 <= threshold < 1:
        raise LigflowError(f"threshold is {threshold}; give a share from 0 to below 1.")
    kept = networkx.DiGraph(**graph.graph)
    kept.add_nodes_from(graph.nodes(data=True))
    for node in graph:
        edges = list(graph.in_edges(node, data=True))
        size = fsum(abs(data["weight"]) for _, _, data in edges)
        kept.add_edges_from(edge for edge in edges if size and abs(edge[2]["weight"]) >= threshold * size)
    return kept
