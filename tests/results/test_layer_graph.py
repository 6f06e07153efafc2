"""Conservation at the nodes of a layer, and graphs as files."""

import json
from pathlib import Path

import networkx
import pytest

from architectures import ARCHITECTURES, build, example
from browser import flow_of
from ligflow import Explainer, LigflowError
from ligflow.results.layer_graph import balance, contributions, save_graph, strong
from ligflow.results.tracing import trace

TOKENS = ["a\x07<b>", '"quoted"', "שלום"]


@pytest.mark.parametrize("name", ["bert", "llama"])
def test_what_arrives_at_a_node_is_its_total(name: str) -> None:
    explainer = Explainer(build(ARCHITECTURES[name]))
    explained = explainer.explain(
        example(ARCHITECTURES[name], tokens=4), att_baseline="mean", mlp_baseline="matched"
    )
    for layer in explained.layers:
        nodes = balance(explained, layer)
        assert len(nodes) == 4 * explained.heads + 4
        assert max(abs(node.relative) for node in nodes) < 1e-3
        worst = max(float(explained.certificate(route)[layer].abs().max()) for route in ("z2u", "u2z"))
        assert max(abs(node.relative) for node in nodes) == pytest.approx(worst, abs=1e-6)
        for parts in contributions(explained, layer):
            assert parts.together == pytest.approx(sum(parts.heads) + parts.residual, rel=1e-5)
            assert parts.together == pytest.approx(parts.total, rel=2e-3)


def test_hidden_tokens_still_count_at_a_node() -> None:
    made = flow_of(["[CLS]", "the", "light"])
    assert max(abs(node.relative) for node in balance(made.hide_special(), 0) if node.head is not None) < 1e-4


@pytest.mark.parametrize("kind", ["graphml", "json"])
@pytest.mark.parametrize("whole", [True, False])
def test_graphs_are_saved_and_read_again(tmp_path: Path, kind: str, whole: bool) -> None:
    settings = {"att_baseline": "mean", "mlp_baseline": "matched", "layer_baseline": "mean"}
    made = flow_of(TOKENS, settings=settings)
    graph = made.to_networkx(1) if whole else trace(made, 1).to_networkx()
    path = save_graph(graph, tmp_path / f"graph.{kind}")
    if kind == "graphml":
        again = networkx.read_graphml(path)
    else:
        again = networkx.node_link_graph(json.loads(path.read_text(encoding="utf-8")), edges="edges")
    assert (len(again), again.size()) == (len(graph), graph.size())
    weights = sorted(data["weight"] for *_, data in again.edges(data=True))
    assert weights == pytest.approx(sorted(data["weight"] for *_, data in graph.edges(data=True)))
    if whole:
        label = again.nodes["z:0"]["token"]
        assert label == ("a\\x07<b>" if kind == "graphml" else TOKENS[0])
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


def test_a_graph_can_be_cut() -> None:
    graph = flow_of(TOKENS).to_networkx(0)
    kept = strong(graph, 0.4)
    assert len(kept) == len(graph)
    assert 0 < kept.size() < graph.size()
    for node in kept:
        size = sum(abs(data["weight"]) for *_, data in graph.in_edges(node, data=True))
        assert all(abs(data["weight"]) >= 0.4 * size - 1e-6 for *_, data in kept.in_edges(node, data=True))
    with pytest.raises(LigflowError, match="threshold is -1"):
        strong(graph, -1.0)


def test_another_kind_of_file(tmp_path: Path) -> None:
    with pytest.raises(
        LigflowError, match=r"Cannot save a graph as 'graph.dot'; end it in .graphml or .json"
    ):
        save_graph(networkx.DiGraph(), tmp_path / "graph.dot")
