"""Nodes and links of a prediction are those of its numbers, and conserve them."""

import pytest

from hand_made_prediction import prediction_of
from ligflow.results.prediction_graph import graph_of


def test_links_are_the_numbers_of_the_prediction() -> None:
    prediction = prediction_of(edges=[1], parts=[1])
    graph = graph_of(prediction)
    links = {(link.source, link.target): link for link in graph.links}
    edge = links[("token", 2, 4), ("head", 1, 0, 5)]
    assert edge.relevance == float(prediction.edges(1)[0, 5, 4])
    assert edge.parts == pytest.approx({"value": edge.relevance / 2, "key": edge.relevance * 0.3,
                                        "query": edge.relevance * 0.2})  # fmt: skip
    assert links[("head", 2, 1, 5), ("middle", 2, 5)].relevance == float(prediction.heads[2][1, 5])
    assert links[("mlp", 2, 5), ("token", 4, 5)].relevance == pytest.approx(float(prediction.mlps[2][5]))
    assert not [link for link in graph.links if link.kind == "edge" and link.target[1] != 1]


def test_what_leaves_a_token_is_what_it_has() -> None:
    prediction = prediction_of(edges=range(3))
    graph = graph_of(prediction)
    for name, node in graph.nodes.items():
        leaving = [link.relevance for link in graph.links if link.source == name]
        if leaving:
            assert sum(leaving) == pytest.approx(node.relevance, abs=1e-5), name
