"""Tables and graphs of a prediction: every number once, and relevance conserved at every node."""

from typing import Any

import networkx
import numpy as np
import pytest
import torch

from hand_made_prediction import prediction_of
from ligflow import Prediction
from ligflow.results.prediction_tables import COLUMNS


def test_a_row_for_every_node() -> None:
    prediction = prediction_of(edges=[1], routing={2: torch.arange(6.0)}, cross_heads={0: torch.ones(1, 6)})
    frame = prediction.to_pandas()
    assert tuple(frame.columns) == COLUMNS
    counts = frame.kind.value_counts().to_dict()
    stored = int((prediction.edges(1) != 0).sum())
    assert counts == {
        "token": 6, "depth": 30, "head": 36, "cross-head": 6, "mlp": 18, "residual": 18, "routing": 6,
        "edge": stored,
    }  # fmt: skip
    tokens = frame[frame.kind == "token"]
    np.testing.assert_array_equal(tokens.relevance, prediction.relevance)
    np.testing.assert_array_equal(tokens.error, prediction.error)
    assert tokens.kept.tolist() == [True, *[False] * 5]
    assert frame[frame.kind == "depth"].groupby("cut").relevance.sum().tolist() == pytest.approx([8.0] * 5)


def test_a_row_says_where_it_stands() -> None:
    prediction = prediction_of(edges=[1])
    frame = prediction.to_pandas()
    (head,) = frame.query("kind == 'head' and layer == 2 and head == 1 and position == 5").relevance
    assert head == float(prediction.heads[2][1, 5])
    (edge,) = frame.query("kind == 'edge' and head == 0 and position == 5 and source_position == 4").to_dict(
        "records"
    )
    assert edge["relevance"] == pytest.approx(float(prediction.edges(1)[0, 5, 4]))
    assert (edge["layer"], edge["token"], edge["source"]) == (1, " is", " France")


def test_edges_in_parts_have_a_row_for_each_and_sum_to_their_heads() -> None:
    prediction = prediction_of(edges=[1], parts=[1])
    frame = prediction.to_pandas()
    split = frame[frame.kind.isin(["value", "key", "query"])]
    edge = frame[frame.kind == "edge"]
    assert len(split) == 3 * len(edge)
    sums = split.groupby(["layer", "head", "position"]).relevance.sum()
    np.testing.assert_allclose(sums, edge.groupby(["layer", "head", "position"]).relevance.sum(), atol=1e-5)
    (key,) = split.query("kind == 'key' and head == 0 and position == 5 and source_position == 4").relevance
    assert key == pytest.approx(0.3 * float(prediction.edges(1)[0, 5, 4]))
    edge = prediction.to_networkx().edges[("token", 2, 4), ("head", 1, 0, 5)]
    assert edge["query"] == pytest.approx(edge["relevance"] * 0.2)


def unbalanced(graph: networkx.DiGraph, edges: Any) -> list[Any]:
    """Nodes that some edges reach (or leave), whose sum is not the node's relevance."""
    sums: dict[Any, float] = {}
    for node, other, data in edges:
        end = other if edges is graph.edges(data=True) else node
        sums[end] = sums.get(end, 0.0) + data["relevance"]
    return [node for node, total in sums.items() if abs(total - graph.nodes[node]["relevance"]) > 1e-5]


@pytest.mark.parametrize("parallel", [[], [0, 1, 2]], ids=["mlp after attention", "mlp beside attention"])
def test_relevance_is_conserved_at_every_node_of_the_graph(parallel: list[int]) -> None:
    plain = prediction_of(edges=range(3))
    prediction = prediction_of(edges=range(3), meta={**plain.meta, "parallel": parallel})
    graph = prediction.to_networkx()
    for node, data in graph.nodes(data=True):
        arriving = [edge["relevance"] for *_, edge in graph.in_edges(node, data=True)]
        leaving = [edge["relevance"] for *_, edge in graph.out_edges(node, data=True)]
        for part in filter(None, (arriving, leaving)):
            assert sum(part) == pytest.approx(data["relevance"], abs=1e-5), node
    kinds = {data["kind"] for _, data in graph.nodes(data=True)}
    assert kinds == {"token", "head", "mlp"} | ({"middle"} if not parallel else set())
    assert graph.nodes["token", 4, 5]["relevance"] == 8.0
    assert graph.nodes["head", 2, 1, 5]["relevance"] == float(prediction.heads[2][1, 5])
    assert graph.edges[("token", 1, 4), ("head", 0, 1, 5)]["relevance"] == float(prediction.edges(0)[1, 5, 4])
    assert nothing_upward(graph)


def nothing_upward(graph: networkx.DiGraph) -> bool:
    return networkx.is_directed_acyclic_graph(graph)


def test_heads_of_a_second_attention_have_the_edges_after_the_first() -> None:
    edges = torch.zeros(3, 6, 6)
    edges[2, 5, 0], edges[0, 5, 4] = 2.0, 1.0
    heads, cross = {2: edges[:2].sum(-1)}, {2: edges[2:].sum(-1)}
    prediction: Prediction = prediction_of(stored_edges={2: edges}, heads=heads, cross_heads=cross)
    graph = prediction.to_networkx()
    assert graph.edges[("token", 3, 0), ("cross-head", 2, 0, 5)]["relevance"] == 2.0
    assert graph.edges[("cross-head", 2, 0, 5), ("middle", 2, 5)]["relevance"] == 2.0
