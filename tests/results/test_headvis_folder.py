"""The folder for HeadVis: the form that it describes, and numbers that are those of the flow."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from browser import flow_of
from ligflow import LigflowError, from_attentions

TEXTS = (
    ["[CLS]", "a", "b", "a", "[SEP]"],
    ["[CLS]", "</script>", "\u202eb", "a", "[SEP]", "a"],
    ["[CLS]", "c", "d", "c", "d", "[SEP]"],
)
CONFIG = {
    "model_name": str, "heads": list, "n_layers": int, "n_heads": int, "n_intervals": int, "metrics": list,
    "metric_descriptions": dict, "head_data_pattern": str, "has_umap": bool, "umap_heads": list,
    "custom_plots": list, "custom_tables": list, "statistics_display": dict,
}  # fmt: skip
HEAD = {
    "sequences": list, "qk_distance_histogram": dict, "top_query_tokens": list, "top_key_tokens": list,
    "histogram": dict, "statistics": dict,
}  # fmt: skip
SEQUENCE = {
    "sequence_id": int, "interval": int, "tokens": list, "attention_indices": list, "attention_values": list,
    "seq_len": int, "max_activation": float,
}  # fmt: skip
MEASURES = (
    "self_attention_score", "previous_token_score", "pattern_entropy", "qk_distance", "qk_distance_variance",
    "induction_score",
)  # fmt: skip


@pytest.fixture(scope="module")
def flows() -> list[Any]:
    return [flow_of(tokens, layers=2, seed=number) for number, tokens in enumerate(TEXTS)]


@pytest.fixture(scope="module")
def folder(flows: list[Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("headvis") / "data"
    assert flows[0].to_headvis(path, *flows[1:]) == path
    return path


def read(folder: Path, name: str) -> Any:
    return json.loads((folder / name).read_text(encoding="utf-8"))


def shares(flow: Any, layer: int, head: int) -> Any:
    rows = flow.z2u[layer, head].abs().double()
    return rows / rows.sum(-1, keepdim=True)


def has_form(value: dict[str, Any], form: dict[str, type]) -> bool:
    return {name: type(each) for name, each in value.items()} == form


def test_the_files_have_the_form_that_is_described(folder: Path, flows: list[Any]) -> None:
    config = read(folder, "config.json")
    assert has_form(config, CONFIG)
    pairs = [[layer, head] for layer in range(2) for head in range(flows[0].heads)]
    assert config["heads"] == pairs
    assert (config["n_layers"], config["n_heads"], config["n_intervals"]) == (2, flows[0].heads, 3)
    rows = read(folder, "scatter_data.json")
    assert [[row["layer"], row["head"]] for row in rows] == pairs
    assert all({*row} == {"layer", "head", *config["metrics"]} for row in rows)
    assert {*config["metrics"]} == {*config["metric_descriptions"]} == {*MEASURES}
    names = {f"L{layer}H{head}.json" for layer, head in pairs}
    assert {path.name for path in (folder / "heads").iterdir()} == names
    for name in names:
        head = read(folder, f"heads/{name}")
        assert has_form(head, HEAD)
        assert all(has_form(sequence, SEQUENCE) for sequence in head["sequences"])
        assert {each["key"] for each in config["custom_plots"] + config["custom_tables"]} <= {*head}
        histogram = head["qk_distance_histogram"]
        assert len(histogram["bin_edges"]) == len(histogram["bin_values"]) + 1
        assert all({*row} == {"token", "weight"} for row in head["top_query_tokens"] + head["top_key_tokens"])
    assert read(folder, "server_config.json") == read(folder, "attributions/manifest.json") == {}
    assert not list(folder.parent.glob(".ligflow*"))


def test_its_numbers_are_those_of_the_flows(folder: Path, flows: list[Any]) -> None:
    for layer in range(2):
        for head in range(flows[0].heads):
            content = read(folder, f"heads/L{layer}H{head}.json")
            largest = []
            for flow, sequence in zip(flows, content["sequences"], strict=True):
                count = sequence["seq_len"]
                assert sequence["tokens"] == list(flow.tokens)
                dense = torch.zeros(count * count, dtype=torch.float64)
                dense[sequence["attention_indices"]] = torch.tensor(
                    sequence["attention_values"], dtype=torch.float64
                )
                wanted = shares(flow, layer, head)
                assert (dense.view(count, count) - wanted).abs().max() <= 5.1e-5
                beside = [float(wanted[q, k]) for q in range(1, count) for k in range(1, count) if q != k]
                assert sequence["max_activation"] == pytest.approx(max(beside), abs=5.1e-5)
                largest.append(max(beside))
            ranks = [sorted(largest).index(each) + 1 for each in largest]
            assert [sequence["interval"] for sequence in content["sequences"]] == ranks


def test_its_measures_are_those_of_plain_loops(folder: Path, flows: list[Any]) -> None:
    (row,) = (row for row in read(folder, "scatter_data.json") if (row["layer"], row["head"]) == (1, 2))
    own, before, entropy, followed, pairs = [], [], [], [], []
    for flow in flows:
        maps = shares(flow, 1, 2).tolist()
        for q, line in enumerate(maps):
            own.append(line[q])
            before += [line[q - 1]] if q else []
            entropy.append(-sum(share * math.log(share) for share in line if share))
            followed.append(sum(line[j + 1] for j in range(q) if flow.tokens[j] == flow.tokens[q]))
            pairs += [(share, abs(q - k)) for k, share in enumerate(line)]
    mass = sum(share for share, _ in pairs)
    distance = sum(share * d for share, d in pairs) / mass
    wanted = {
        "self_attention_score": sum(own) / len(own), "previous_token_score": sum(before) / len(before),
        "pattern_entropy": sum(entropy) / len(entropy), "qk_distance": distance,
        "qk_distance_variance": sum(share * (d - distance) ** 2 for share, d in pairs) / mass,
        "induction_score": sum(followed) / len(followed),
    }  # fmt: skip
    assert {name: row[name] for name in MEASURES} == pytest.approx(wanted, abs=5.1e-5)
    content = read(folder, "heads/L1H2.json")
    values = content["qk_distance_histogram"]["bin_values"]
    assert content["qk_distance_histogram"]["bin_edges"] == [0, 1, 2, 4, 8]
    for number, (low, high) in enumerate([(0, 1), (1, 2), (2, 4), (4, 8)]):
        assert values[number] == pytest.approx(sum(s for s, d in pairs if low <= d < high), abs=5e-3)
    read_a = sum(float(shares(flow, 1, 2)[:, k].sum()) for flow in flows for k in places(flow, "a"))
    assert weight(content["top_key_tokens"], "a") == pytest.approx(read_a / mass, abs=1e-3)
    assert weight(content["top_query_tokens"], "a") == pytest.approx(4 / mass, abs=1e-3)


def places(flow: Any, token: str) -> list[int]:
    return [place for place, each in enumerate(flow.tokens) if each == token]


def weight(table: list[dict[str, Any]], token: str) -> float:
    (row,) = (row for row in table if row["token"] == token)
    return float(row["weight"])


def test_attention_weights_are_written_as_they_are(tmp_path: Path) -> None:
    weights = torch.tensor([[[[1.0, 0.0], [0.25, 0.75]]]])
    path = from_attentions(list(weights[None]), ["a", "b"]).to_headvis(tmp_path / "data")
    (sequence,) = read(path, "heads/L0H0.json")["sequences"]
    assert (sequence["attention_indices"], sequence["attention_values"]) == ([0, 2, 3], [1.0, 0.25, 0.75])
    assert "attention weights" in read(path, "config.json")["model_name"]


def test_what_does_not_fit_is_refused(flows: list[Any], folder: Path, tmp_path: Path) -> None:
    with pytest.raises(LigflowError, match="already; give the name of a new folder"):
        flows[0].to_headvis(folder)
    with pytest.raises(LigflowError, match="There is no folder"):
        flows[0].to_headvis(tmp_path / "none" / "data")
    with pytest.raises(LigflowError, match="write a folder for each"):
        flows[0].to_headvis(tmp_path / "data", flow_of(TEXTS[0], layers=3))
    with pytest.raises(LigflowError, match="z2u"):
        flow_of(TEXTS[0], routes=("z2z",)).to_headvis(tmp_path / "data")
    assert list(tmp_path.iterdir()) == []
