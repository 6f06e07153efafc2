"""The attribution graph is what circuit-tracer's viewer and Neuronpedia ask for, and conserves relevance."""

import json
import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

from five_tokens import HOSTILE
from hand_made_prediction import prediction_of
from ligflow import LigflowError, Prediction
from ligflow.results.attribution_graph import attribution_graph

NODE = {  # what both viewers' schemas ask of a node
    "node_id": str, "feature": int, "layer": str, "ctx_idx": int, "feature_type": str, "jsNodeId": str,
    "clerp": str, "token_prob": float, "is_target_logit": bool, "run_idx": int, "reverse_ctx_idx": int,
}  # fmt: skip
METADATA = {"slug": str, "scan": str, "transcoder_list": list, "prompt_tokens": list, "prompt": str}
ASKED = {"pinnedIds": list, "supernodes": list, "linkType": str, "clickedId": str, "sg_pos": str}


def whole(**more: Any) -> Prediction:
    return prediction_of(edges=range(3), **more)


def check_schema(graph: dict[str, Any], prediction: Prediction) -> None:
    """What circuit-tracer's reader and Neuronpedia's schema ask, and what their pages take for granted."""
    assert {*graph} == {"metadata", "qParams", "nodes", "links"}
    parts = [(graph["metadata"], METADATA), (graph["qParams"], ASKED), *((n, NODE) for n in graph["nodes"])]
    for part, types in parts:
        for name, kind in types.items():
            assert type(part[name]) is kind, (name, part[name])
    meta = graph["metadata"]
    assert all(re.fullmatch(r"[a-zA-Z0-9_.-]+", meta[name]) for name in ("slug", "scan"))  # of an upload
    assert all(type(token) is str for token in meta["prompt_tokens"])
    names = [node["node_id"] for node in graph["nodes"]]
    assert len({*names}) == len(names)
    features = Counter((n["layer"], n["feature"], n["ctx_idx"]) for n in graph["nodes"])
    assert max(features.values()) == 1  # pages tell nodes apart by these
    for node in graph["nodes"]:
        assert node["layer"] == "E" or 0 <= int(node["layer"]) <= len(prediction.layer_names)
        assert 0 <= node["ctx_idx"] < len(prediction.tokens)
    (logit,) = (node for node in graph["nodes"] if node["feature_type"] == "logit")
    assert re.fullmatch(r'Output "[^"]*" \(p=(unknown|[\d.]+)\)', logit["clerp"])  # read off the label
    assert graph["qParams"]["clickedId"] == logit["node_id"]
    for link in graph["links"]:
        assert {*link} == {"source", "target", "weight"}
        assert link["source"] in names
        assert link["target"] in names
        assert type(link["weight"]) is float


@pytest.mark.parametrize("mass", [0.3, 0.8, 1.0])
def test_it_fits_the_viewers_and_conserves_relevance(mass: float) -> None:
    prediction = whole()
    graph = json.loads(json.dumps(attribution_graph(prediction, mass), allow_nan=False))
    check_schema(graph, prediction)
    arriving: defaultdict[str, float] = defaultdict(float)
    for link in graph["links"]:
        arriving[link["target"]] += link["weight"]
    nodes = {node["node_id"]: node for node in graph["nodes"]}
    for name, total in arriving.items():
        assert total == pytest.approx(nodes[name]["relevance"], abs=1e-5), name
    without = {node["feature_type"] for name, node in nodes.items() if name not in arriving}
    assert without <= {"embedding", "left out (error)"}
    embeddings = [node for node in graph["nodes"] if node["feature_type"] == "embedding"]
    assert [node["relevance"] for node in embeddings] == prediction.relevance.tolist()
    assert graph["metadata"]["pruning_settings"]["share_of_heads_and_mlps"] >= mass


def test_links_are_those_of_the_prediction() -> None:
    prediction = whole()
    graph = attribution_graph(prediction, 1.0)
    weights = {(link["source"], link["target"]): link["weight"] for link in graph["links"]}
    types = Counter(node["feature_type"] for node in graph["nodes"])
    assert weights["E_4_4", "0_1_5"] == float(prediction.edges(0)[1, 5, 4])  # France, read by a head at "is"
    assert weights["2_4_5", "3_0_5"] == prediction.change
    edges = sum(int((prediction.edges(layer) != 0).sum()) for layer in range(3))
    assert sum(source.startswith("E_") or target.split("_")[1] in "01" for source, target in weights) >= edges
    assert (types["embedding"], types["logit"], types["left out (error)"]) == (6, 1, 0)


def test_the_answer_has_its_probability_where_it_is_known() -> None:
    def label(**more: Any) -> str:
        return str(attribution_graph(whole(**more))["nodes"][-1]["clerp"])

    meta = whole().meta
    assert label() == 'Output " Paris" (p=0.607)'  # exp(-0.5)
    logit = {**meta, "settings": {**meta["settings"], "score": "logit"}}
    assert label(meta=logit) == 'Output " Paris" (p=0.610)'  # as the model says it
    assert label(meta=logit, top=()) == 'Output " Paris" (p=unknown)'


def test_hostile_tokens_are_only_labels() -> None:
    prediction = whole(
        tokens=[*HOSTILE, "\x00\x1b[31m"], meta={"text": "</script>", "question": '"<b>(p=1)"'}
    )
    graph = attribution_graph(prediction, 1.0)
    assert graph["metadata"]["slug"] == "script-b-p-1"
    assert "\x1b" not in json.dumps(graph["metadata"]["prompt_tokens"], ensure_ascii=False)
    assert graph["nodes"][-1]["clerp"].count('"') == 2


def test_heads_of_a_second_attention_have_numbers_after_the_first() -> None:
    plain = whole()
    edges = {layer: plain.edges(layer) for layer in range(3)}
    heads, cross = ({layer: edge[part].sum(-1) for layer, edge in edges.items()} for part in ([0], [1]))
    prediction = whole(heads=heads, cross_heads=cross)
    graph = attribution_graph(prediction, 1.0)
    check_schema(graph, prediction)
    weights = {(link["source"], link["target"]): link["weight"] for link in graph["links"]}
    assert weights["E_4_4", "0_1_5"] == float(edges[0][1, 5, 4])


def test_what_cannot_be_drawn_is_refused(tmp_path: Path) -> None:
    for mass in (0, 1.5, True, "all"):
        with pytest.raises(LigflowError, match="above 0 and up to 1"):
            attribution_graph(whole(), mass)  # type: ignore[arg-type]
    with pytest.raises(LigflowError, match=r"stored of 1 of 3 layers: explain_prediction.*edges='all'"):
        prediction_of(edges=[1]).to_attribution_graph(tmp_path / "graph.json")
    assert not [*tmp_path.iterdir()]


def test_a_file_of_it(tmp_path: Path) -> None:
    path = whole().to_attribution_graph(tmp_path / "graph.json", mass=0.5)
    assert json.loads(path.read_text(encoding="utf-8")) == attribution_graph(whole(), 0.5)
