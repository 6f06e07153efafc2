"""Flows as pandas, xarray and networkx: every cell where it belongs, rows targets and columns sources."""

import sys
from dataclasses import replace
from typing import Any

import networkx as nx
import numpy as np
import pytest

from architectures import ARCHITECTURES, build, example
from ligflow import Explainer, Flow, LigflowError

TOKENS = ["the", "old", "light", "house"]
TARGETS = (0, 2, 3)


@pytest.fixture(scope="module")
def flow() -> Flow:
    """Both layers, three of four tokens as targets; one cell of every map is known and large.

    Source 1 gives target 3 the value 1000 in layer 1 (and head 2).
    """
    explained = Explainer(build(ARCHITECTURES["bert"]), name="tiny").explain(
        example(ARCHITECTURES["bert"], tokens=4), targets=TARGETS, mlp_baseline="matched", att_baseline="mean"
    )
    known = {name: explained.tensors[name].clone() for name in ("z2u", "u2z", "u2z_residual", "z2z")}
    known["z2u"][1, 2, 2, 1] = known["z2z"][1, 2, 1] = 1000
    known["u2z"][1, 2, 2] = 2000
    known["u2z_residual"][1, 2] = 3000
    return replace(explained, tokens=TOKENS, tensors={**explained.tensors, **known})


@pytest.fixture(scope="module")
def direct() -> Flow:
    return Explainer(build(ARCHITECTURES["bert"])).explain(
        example(ARCHITECTURES["bert"], tokens=4), routes=("z2z",), layers=[1]
    )


# --- pandas ---------------------------------------------------------------------------------------


def test_the_large_cell_has_its_own_target_and_source(flow: Flow) -> None:
    frame = flow.to_pandas()
    large = frame[frame["value"] == 1000].set_index("route")
    assert set(large.index) == {"z2u", "z2z"}
    for route in large.index:
        row = large.loc[route]
        assert (row["layer"], row["target"], row["target_token"]) == (1, 3, "house")
        assert (row["source"], row["source_token"]) == (1, "old")
    assert large.loc["z2u", "head"] == 2


def test_heads_and_residual_are_the_sources_of_u2z(flow: Flow) -> None:
    frame = flow.to_pandas()
    (head,) = frame[frame["value"] == 2000].to_dict("records")
    assert (head["route"], head["layer"], head["head"], head["target"]) == ("u2z", 1, 2, 3)
    (residual,) = frame[frame["value"] == 3000].to_dict("records")
    assert (residual["route"], residual["layer"], residual["head"], residual["target"]) == ("u2z", 1, -1, 3)
    assert residual["source_token"] == "residual"
    assert frame[frame["route"] == "u2z"]["source"].isna().all()


def test_every_cell_of_a_map_is_one_row(flow: Flow) -> None:
    frame = flow.to_pandas()
    assert len(frame) == 2 * 4 * 3 * 4 + 2 * 4 * 3 + 2 * 3 + 2 * 3 * 4
    assert frame.groupby("route").size().to_dict() == {"u2z": 30, "z2u": 96, "z2z": 24}
    for record in frame.to_dict("records"):
        assert record["value"] == cell(flow, record)


def cell(flow: Flow, record: dict[str, Any]) -> float:
    layer, row = flow.row(record["layer"]), TARGETS.index(record["target"])
    if record["route"] == "z2z":
        return float(flow.z2z[layer, row, record["source"]])
    if record["route"] == "z2u":
        return float(flow.z2u[layer, record["head"], row, record["source"]])
    return float(
        flow.u2z_residual[layer, row] if record["head"] == -1 else flow.u2z[layer, record["head"], row]
    )


def test_total_and_certificate_stand_beside_every_cell(flow: Flow) -> None:
    frame = flow.to_pandas()
    for name in ("total", "certificate"):
        rows = frame[(frame["route"] == "z2u") & (frame["layer"] == 1) & (frame["head"] == 2)]
        values = getattr(flow, name)("z2u")[1, 2].numpy()
        assert rows.groupby("target")[name].nunique().eq(1).all()
        np.testing.assert_array_equal(rows.groupby("target")[name].first(), values)
        for route in ("u2z", "z2z"):
            rows = frame[(frame["route"] == route) & (frame["layer"] == 0)]
            values = getattr(flow, name)(route)[0].numpy()
            np.testing.assert_array_equal(rows.groupby("target")[name].first(), values)


def test_sums_of_the_table_are_complete(direct: Flow) -> None:
    frame = direct.to_pandas()
    assert list(frame["route"].unique()) == ["z2z"]
    sums = frame.groupby(["layer", "target"])["value"].sum()
    np.testing.assert_allclose(sums, direct.total("z2z")[0], rtol=1e-3)
    assert frame["head"].isna().all()


# --- xarray ---------------------------------------------------------------------------------------


def test_xarray_finds_the_large_cell_by_name(flow: Flow) -> None:
    data = flow.to_xarray()
    assert data["z2z"].dims == ("layer", "target", "source")
    assert data["z2u"].dims == ("layer", "head", "target", "source")
    assert data["u2z"].dims == data["z2u_total"].dims == ("layer", "head", "target")
    assert float(data["z2z"].sel(layer=1, target=3, source=1)) == 1000
    assert float(data["z2u"].sel(layer=1, head=2, target=3, source=1)) == 1000
    assert float(data["u2z"].sel(layer=1, head=2, target=3)) == 2000
    assert float(data["u2z_residual"].sel(layer=1, target=3)) == 3000


def test_xarray_names_tokens_and_model(flow: Flow) -> None:
    data = flow.to_xarray()
    assert data["target_token"].values.tolist() == ["the", "light", "house"]
    assert data["source_token"].values.tolist() == TOKENS
    assert data["target"].values.tolist() == list(TARGETS)
    assert data.attrs["model"] == "tiny"


@pytest.mark.parametrize("route", ["z2u", "u2z", "z2z"])
def test_xarray_holds_all_values(flow: Flow, route: str) -> None:
    data = flow.to_xarray()
    np.testing.assert_array_equal(data[route], flow.tensors[route])
    np.testing.assert_array_equal(data[f"{route}_total"], flow.total(route))
    np.testing.assert_array_equal(data[f"{route}_certificate"], flow.certificate(route))


def test_xarray_of_one_route_has_no_axes_of_others(direct: Flow) -> None:
    data = direct.to_xarray()
    assert set(data.sizes) == {"layer", "target", "source"}
    assert set(data.data_vars) == {"z2z", "z2z_total", "z2z_certificate"}
    assert data["layer"].values.tolist() == [1]


# --- networkx -------------------------------------------------------------------------------------


def test_the_graph_has_sources_heads_and_targets(flow: Flow) -> None:
    graph = flow.to_networkx(1)
    kinds = nx.get_node_attributes(graph, "kind")
    assert {kind: list(kinds.values()).count(kind) for kind in ("z", "u", "z'")} == {"z": 4, "u": 12, "z'": 3}
    assert graph.number_of_edges() == 4 * 3 * 4 + 4 * 3 + 3
    assert nx.is_directed_acyclic_graph(graph)
    assert graph.nodes["z", 1] == {"kind": "z", "token": "old"}
    assert graph.nodes["u", 2, 3] == {"kind": "u", "token": "house", "head": 2}
    assert graph.nodes["z'", 3] == {"kind": "z'", "token": "house"}
    assert graph.graph == {"layer": 1, "model": "tiny"}


def test_edges_run_from_source_to_target(flow: Flow) -> None:
    graph = flow.to_networkx(1)
    assert graph["z", 1]["u", 2, 3]["weight"] == 1000
    assert graph["u", 2, 3]["z'", 3]["weight"] == 2000
    assert graph["z", 3]["z'", 3]["weight"] == 3000
    assert ("z", 1) not in graph.pred["z'", 3]
    assert not graph.has_edge(("u", 2, 0), ("z'", 3))


def test_edge_weights_are_the_maps(flow: Flow) -> None:
    graph = flow.to_networkx(0)
    for head, row, source in np.ndindex(4, 3, 4):
        weight = graph["z", source]["u", head, TARGETS[row]]["weight"]
        assert weight == float(flow.z2u[0, head, row, source])
    for head, row in np.ndindex(4, 3):
        target = TARGETS[row]
        assert graph["u", head, target]["z'", target]["weight"] == float(flow.u2z[0, head, row])


def test_what_flows_into_a_node_is_its_total(flow: Flow) -> None:
    graph = flow.to_networkx(0)
    for row, target in enumerate(TARGETS):
        for head in range(4):
            total = float(flow.total("z2u")[0, head, row])
            assert graph.in_degree(("u", head, target), weight="weight") == pytest.approx(total, rel=1e-3)
        total = float(flow.total("u2z")[0, row])
        assert graph.in_degree(("z'", target), weight="weight") == pytest.approx(total, rel=1e-3)


def test_a_graph_needs_a_layer_and_both_routes(flow: Flow, direct: Flow) -> None:
    with pytest.raises(LigflowError, match=r"Layer 2 is not in this flow, which holds \[0, 1\]"):
        flow.to_networkx(2)
    with pytest.raises(LigflowError, match="holds z2z, not z2u"):
        direct.to_networkx(1)


# --- without the extra ----------------------------------------------------------------------------


def test_a_missing_package_is_named_with_its_remedy(direct: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "ligflow.results.tables", raising=False)
    monkeypatch.delattr(sys.modules["ligflow"], "tables", raising=False)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(LigflowError, match=r"A table needs pandas: pip install 'ligflow\[tables\]'"):
        direct.to_pandas()


def test_names_of_tokens_are_of_one_type(direct: Flow) -> None:
    frame = direct.to_pandas()
    assert frame["target_token"].dtype == frame["source_token"].dtype == "string"
