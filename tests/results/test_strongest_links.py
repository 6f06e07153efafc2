"""The strongest links: as much is kept as is asked for, and what arrives at a node is its relevance still."""

from collections import defaultdict
from math import fsum

import pytest

from hand_made_prediction import prediction_of
from ligflow import Prediction
from ligflow.results.prediction_graph import Name, PredictionGraph, graph_of
from ligflow.results.strongest_links import LEFT_OUT, strongest_links


def whole(parallel: list[int] | None = None) -> Prediction:
    plain = prediction_of(edges=range(3))
    return prediction_of(edges=range(3), meta={**plain.meta, "parallel": parallel or []})


def arriving(graph: PredictionGraph) -> dict[Name, float]:
    sums: defaultdict[Name, float] = defaultdict(float)
    for link in graph.links:
        sums[link.target] += link.relevance
    return sums


def carried(graph: PredictionGraph) -> list[float]:
    return [abs(link.relevance) for link in graph.links if link.kind == "edge" or link.source[0] == "mlp"]


@pytest.mark.parametrize("parallel", [[], [0, 1, 2]], ids=["mlp after attention", "mlp beside attention"])
@pytest.mark.parametrize("mass", [1e-9, 0.3, 0.8, 1.0])
def test_relevance_arrives_at_every_node(mass: float, parallel: list[int]) -> None:
    full = graph_of(whole(parallel))
    graph, _ = strongest_links(full, mass)
    for name, total in arriving(graph).items():
        assert total == pytest.approx(full.nodes[name].relevance, abs=1e-5), name
    for name, node in graph.nodes.items():
        if name[0] == LEFT_OUT:
            leaving = fsum(link.relevance for link in graph.links if link.source == name)
            assert node.relevance == pytest.approx(leaving)


def test_as_few_of_the_largest_are_kept_as_make_up_the_mass() -> None:
    full = graph_of(whole())
    sizes = sorted(carried(full), reverse=True)
    graph, share = strongest_links(full, 0.6)
    kept = sorted(carried(graph), reverse=True)
    assert kept == sizes[: len(kept)]
    assert share == pytest.approx(fsum(kept) / fsum(sizes))
    assert fsum(kept[:-1]) < 0.6 * fsum(sizes) <= fsum(kept)


def test_nothing_is_left_out_of_all() -> None:
    full = graph_of(whole())
    graph, share = strongest_links(full, 1.0)
    assert share == 1.0
    assert graph.links == [link for link in full.links if link.relevance]
    assert not [name for name in graph.nodes if name[0] == LEFT_OUT]


def test_a_weak_mlp_goes_with_the_residual_beside_it() -> None:
    graph, _ = strongest_links(graph_of(whole()), 1e-9)
    drawn = {name for name in graph.nodes if name[0] in ("mlp", "middle")}
    assert len(drawn) <= 2
    assert any(link.kind == "residual" for link in graph.links)
