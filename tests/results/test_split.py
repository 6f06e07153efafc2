"""z2z by head in what a flow becomes: files, words, tables, and one list of sources."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, load_file, save_file

from architectures import ARCHITECTURES, build, example
from encoder_decoders import explainer_of, inputs_of
from ligflow import Explainer, Flow, LigflowError
from ligflow.cli.output import as_json
from ligflow.results.flow_data import SPLIT, SPLIT_ERROR
from ligflow.results.flow_file import header
from ligflow.results.join import join
from ligflow.view.payload import pack

WORDS = {"words": [0, 0, 1, 2, 2], "word_labels": ["ab", "c", "de"]}


@pytest.fixture(scope="module")
def explainer() -> Explainer:
    return Explainer(build(ARCHITECTURES["bert"]))


@pytest.fixture(scope="module")
def flow(explainer: Explainer) -> Flow:
    inputs = example(ARCHITECTURES["bert"], 5)
    explained = explainer.explain(inputs, "z2z", layer_baseline="mean", split=True)
    return Flow(**vars(explained) | {"meta": {**explained.meta, **WORDS}, "special": (True, *[False] * 4)})


def _sum(flow: Flow) -> torch.Tensor:
    """Heads, and at the target itself what passes beside them."""
    total = flow.z2z_heads.sum(1)
    own = torch.tensor(flow.targets).expand(total.shape[:-1])[..., None]
    return total.scatter_add(-1, own, flow.z2z_residual[..., None])


def test_heads_and_residual_sum_to_z2z_and_so_they_do_by_words(flow: Flow) -> None:
    for each in (flow, flow.merge_words(), flow.hide_special()):
        torch.testing.assert_close(_sum(each), each.z2z, rtol=1e-5, atol=1e-5)
        assert each.split_error.shape == (2, len(each.targets))
    assert flow.heads == 4
    assert (flow.split_error > 0).all()
    assert (flow.split_error < 0.05).all()


def test_what_passes_an_mlp_is_not_all(flow: Flow) -> None:
    for part, whole in ((flow.z2z_mlp, flow.z2z_heads), (flow.z2z_residual_mlp, flow.z2z_residual)):
        share = float(part.abs().sum() / whole.abs().sum())
        assert 0.1 < share < 0.95


def test_a_file_gives_the_parts_back(flow: Flow, tmp_path: Path) -> None:
    again = Flow.load(flow.save(tmp_path / "f.safetensors"))
    for name in (*SPLIT, SPLIT_ERROR):
        assert torch.equal(again.tensors[name], flow.tensors[name])
    assert again.meta["settings"]["split"] is True


@pytest.mark.parametrize("lost", [*SPLIT, SPLIT_ERROR])
def test_a_file_that_lost_a_part_is_damaged(flow: Flow, tmp_path: Path, lost: str) -> None:
    path = flow.save(tmp_path / "f.safetensors")
    tensors = {name: tensor for name, tensor in load_file(path).items() if name != lost}
    save_file(tensors, path, metadata=header(flow))
    with pytest.raises(LigflowError, match=f"holds no {lost}"):
        Flow.load(path)


def test_a_flow_without_parts_says_how_to_ask(explainer: Explainer) -> None:
    plain = explainer.explain(example(ARCHITECTURES["bert"], 5), "z2z")
    with pytest.raises(LigflowError, match=r"holds no z2z_heads; ask for it: explain\(..., split=True\)"):
        _ = plain.z2z_heads
    with pytest.raises(LigflowError, match="not z2z"):
        _ = explainer.explain(example(ARCHITECTURES["bert"], 5), "z2u").z2z_mlp
    with pytest.raises(LigflowError, match="not z2z_cross"):
        _ = plain.z2z_cross_heads


def test_a_table_has_a_row_for_every_part(flow: Flow) -> None:
    table = flow.to_pandas().set_index("route")
    heads = table.loc["z2z_heads"]
    assert len(heads) == 2 * 4 * 5 * 5
    assert float(heads["value"].iloc[7]) == float(flow.z2z_heads.flatten()[7])
    residual = table.loc["z2z_residual"]
    assert (residual["source"] == residual["target"]).all()
    assert residual["value"].tolist() == flow.z2z_residual.flatten().tolist()
    assert residual["total"].tolist() == flow.total("z2z").flatten().tolist()
    data = flow.to_xarray()
    assert data["z2z_mlp"].shape == (2, 4, 5, 5)
    assert data["z2z_split_error"].values.tolist() == flow.split_error.tolist()
    assert json.loads(as_json(flow))["maps"]["z2z_split_error"] == flow.split_error.tolist()


def test_the_exact_graph_hands_on_what_arrives(flow: Flow) -> None:
    graph = flow.to_networkx(1, split=True)
    assert graph["z", 3]["u", 2, 4]["weight"] == float(flow.z2z_heads[1, 2, 4, 3])
    assert graph["z", 3]["u", 2, 4]["mlp"] == float(flow.z2z_mlp[1, 2, 4, 3])
    assert graph["z", 4]["z'", 4]["mlp"] == float(flow.z2z_residual_mlp[1, 4])
    for weight in ("weight", "mlp"):
        arrives = graph.in_degree(("u", 2, 4), weight=weight)
        assert graph["u", 2, 4]["z'", 4][weight] == pytest.approx(arrives, rel=1e-5)
    assert graph.in_degree(("z'", 4), weight="weight") == pytest.approx(float(flow.z2z[1, 4].sum()), rel=1e-5)


def test_a_plain_flow_has_no_exact_graph(explainer: Explainer) -> None:
    with pytest.raises(LigflowError, match="no z2z_heads"):
        explainer.explain(example(ARCHITECTURES["bert"], 5), "z2z").to_networkx(1, split=True)


def test_what_it_holds_is_said(flow: Flow) -> None:
    assert "4 heads, routes z2z by head, model" in repr(flow)


def test_joining_keeps_the_parts(explainer: Explainer, flow: Flow) -> None:
    other = explainer.explain(example(ARCHITECTURES["bert"], 5), "z2u")
    both = join([other, Flow(**vars(flow) | {"special": other.special})])
    assert torch.equal(both.z2z_heads, flow.z2z_heads)
    assert both.meta["settings"]["split"] is True


def test_a_page_holds_those_that_it_shows(flow: Flow) -> None:
    held = load(pack(flow))
    for name in ("z2z", "z2z_heads", "z2z_mlp", "z2z_residual_mlp"):
        assert torch.equal(held[name], flow.tensors[name].float())
    assert not {"z2z_residual", "z2z_heads.error"} & {*held}


def test_both_attentions_of_a_decoder_on_one_list_of_sources() -> None:
    flow = explainer_of("t5").explain(
        inputs_of("t5", 5, 0, torch.float32), "z2z", layer_baseline="mean", split=True,
        quadrature="gauss-legendre:9", tol=0.999,
    )  # fmt: skip
    both = flow.over_both()
    assert both.z2z_heads.shape == (2, 8, 5, 12)
    assert torch.equal(both.z2z_mlp[:, 4:, :, 5:], flow.z2z_cross_mlp)
    assert both.z2z_heads[:, :4, :, 5:].abs().max() == 0
    torch.testing.assert_close(_sum(both), both.z2z, rtol=1e-5, atol=1e-5)
