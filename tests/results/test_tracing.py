"""Relevance across layers: conservation, chains by hand, refusals, exports; on MiniLM and Gemma."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from architectures import ARCHITECTURES, build, example, shared
from browser import flow_of
from ligflow import Explainer, Flow, LigflowError, direction
from ligflow.layer.float64 import keep_double
from ligflow.layer.layer import Layer
from ligflow.layer.model_state import prepared
from ligflow.results.tracing import BASELINES, trace
from prediction.tiny import gpt2, ids, llama

TOKENS = ["[CLS]", "the", "light", "[SEP]"]
SETTINGS = {"att_baseline": "mean", "mlp_baseline": "matched", "layer_baseline": "mean", "tol": 1e-3}


@pytest.fixture
def flow() -> Flow:
    return flow_of(TOKENS, layers=3, settings=SETTINGS)


@pytest.mark.parametrize("which", ["composed", "z2z"])
def test_relevance_is_a_product_of_shares(flow: Flow, which: str) -> None:
    maps = (flow.composed() if which == "composed" else flow.z2z).double()
    shares = maps / maps.sum(-1, keepdim=True)
    found = trace(flow, 2, which=which)
    assert found.layers == (2, 1, 0)
    torch.testing.assert_close(found.input, shares[2, 2] @ shares[1] @ shares[0], rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(found.relevance[1], shares[2, 2], rtol=1e-6, atol=1e-9)
    assert found.drift < 1e-12
    lower = trace(flow, 1, layer=1, which=which)
    torch.testing.assert_close(lower.input, shares[1, 1] @ shares[0], rtol=1e-6, atol=1e-9)


def test_a_row_that_did_not_move_keeps_its_relevance(flow: Flow) -> None:
    z2z = flow.z2z.clone()
    z2z[1] = 0
    still = replace(flow, tensors={**flow.tensors, "z2z": z2z})
    found = trace(still, 1, which="z2z")
    torch.testing.assert_close(found.relevance[1], found.relevance[2])
    assert found.drift < 1e-12


def test_rows_that_did_not_move_or_cancel_are_counted_where_relevance_reaches_them(flow: Flow) -> None:
    z2z = flow.z2z.clone()
    z2z[1, 0] = 0
    z2z[1, 3] = torch.tensor([1.0, -1.0, 2.0, -2.0])
    z2z[2, 1] = torch.tensor([0.0, 1.0, 1.0, 2.0])  # nothing for token 0
    assert trace(flow, 1, which="z2z").still == 0
    assert trace(replace(flow, tensors={**flow.tensors, "z2z": z2z}), 1, which="z2z").still == 1


def test_a_row_that_moved_little_hands_its_relevance_on(flow: Flow) -> None:
    """What counts is its own size, not that of other rows."""
    z2z = flow.z2z.clone()
    z2z[2, 1] *= 1e-9
    found = trace(replace(flow, tensors={**flow.tensors, "z2z": z2z}), 1, which="z2z")
    assert found.still == 0
    torch.testing.assert_close(found.shares[0, 1], trace(flow, 1, which="z2z").shares[0, 1])


def test_an_edge_at_the_threshold_is_kept(flow: Flow) -> None:
    found = trace(flow, 2, which="z2z")
    sizes = sorted((abs(edge.relevance) for edge in found.edges()), reverse=True)
    assert 0 < sizes[3] < 1
    assert [abs(edge.relevance) >= sizes[3] for edge in found.edges(sizes[3])] == [True] * 4


def without_errors(flow: Flow) -> dict[str, Any]:
    names = [f"{route}.{part}" for route in flow.routes for part in ("error", "residue")]
    return {**flow.tensors, **{name: torch.zeros_like(flow.tensors[name]) for name in names}}


def test_the_error_of_one_row_is_handed_down_with_its_relevance(flow: Flow) -> None:
    """Row 3 of layer 1 is off by 0.01 in L1, of which its sum misses 0.002."""
    tensors = without_errors(flow)
    tensors["z2z.error"][1, 3], tensors["z2z.residue"][1, 3] = 0.01, -0.002
    found = trace(replace(flow, tensors=tensors), 1, which="z2z")
    share, below = found.shares[1, 3], found.shares[2].abs()
    own = (0.01 + 0.002 * share.abs().sum()) / flow.z2z[1, 3].sum().abs() * found.relevance[1, 3].abs()
    assert found.errors[:2].tolist() == [0, 0]
    assert float(found.errors[2]) == pytest.approx(float(own), rel=1e-5)
    handed = own * (share.abs() / share.abs().sum()) @ below
    assert float(found.errors[3]) == pytest.approx(float(handed.sum()), rel=1e-5)


@pytest.mark.parametrize("which", ["composed", "z2z"])
def test_maps_that_are_off_by_their_errors_give_relevances_within_theirs(flow: Flow, which: str) -> None:
    """Every map is moved at random by as much as its error says; relevance moves by no more than that."""
    generator, worst = torch.Generator().manual_seed(0), 0.0
    for _ in range(20):
        tensors, moved = without_errors(flow), {}
        for name in ("z2u", "u2z", "z2z"):
            noise = 1e-6 * torch.randn(flow.tensors[name].shape, generator=generator)
            players = 1 if name == "u2z" else -1
            moved[name] = flow.tensors[name] + noise
            tensors[f"{name}.error"] = noise.abs().sum(players)
            tensors[f"{name}.residue"] = -noise.sum(players)
        found = trace(replace(flow, tensors=tensors), 2, which=which)
        other = trace(replace(flow, tensors={**tensors, **moved}), 2, which=which)
        apart = (found.relevance - other.relevance).abs().sum(-1)
        assert (apart <= 1.1 * found.errors + 1e-9).all()
        worst = max(worst, float((apart[1:] / found.errors[1:]).max()))
    assert worst > 0.1


def test_the_first_step_can_be_under_a_direction(flow: Flow) -> None:
    top = flow_of(TOKENS, layers=3, targets=[2], seed=9, settings=SETTINGS)
    found = trace(flow, 2, which="z2z", top=top)
    share = top.z2z[2, 0].double() / top.z2z[2, 0].double().sum()
    torch.testing.assert_close(found.relevance[1], share)
    torch.testing.assert_close(found.shares[1:], trace(flow, 2, which="z2z").shares[1:])


def test_certificates_are_weighted_by_relevance(flow: Flow) -> None:
    residue = flow.tensors["z2z.residue"].clone()
    residue[1, 3] = 0.5 * flow.tensors["z2z.total"][1, 3]
    met = flow.tensors["z2z.met"].clone()
    met[1, 3] = False
    bad = replace(flow, tensors={**flow.tensors, "z2z.residue": residue, "z2z.met": met})
    found = trace(bad, 1, which="z2z")
    assert found.unmet == 1
    known = float(found.relevance[1, 3].abs()) * 0.5
    assert float(found.certificates[1]) == pytest.approx(known, rel=0.01)
    assert trace(bad, 1, layer=0, which="z2z").unmet == 0


def test_a_direction_leaves_open_what_is_left_of_its_total(flow: Flow) -> None:
    """Its certificate is relative to `||v|| ||dz'||`; shares are of the total, which may cancel."""
    top = flow_of(TOKENS, layers=3, targets=[2], seed=9, settings=SETTINGS)
    scale = {"z2z.scale": 100 * top.tensors["z2z.total"].abs()}
    residue = {"z2z.residue": 0.05 * top.tensors["z2z.total"]}
    top = replace(top, tensors={**top.tensors, **scale, **residue, "z2z.met": top.tensors["z2z.met"] & False})
    assert float(top.certificate("z2z")[2, 0].abs()) == pytest.approx(5e-4)
    found = trace(flow, 2, which="z2z", top=top)
    assert float(found.certificates[0]) == pytest.approx(0.05)
    assert found.unmet == 1


def test_words_are_chained_as_words() -> None:
    whole = flow_of(TOKENS, settings=SETTINGS, words=[0, 1, 1, 2], word_labels=["[CLS]", "thelight", "[SEP]"])
    merged = whole.merge_words()
    found = trace(merged, 1)
    maps = merged.composed().double()
    shares = maps / maps.sum(-1, keepdim=True)
    torch.testing.assert_close(found.input, shares[1, 1] @ shares[0])
    assert found.drift < 1e-12


def test_edges_sum_to_the_relevance(flow: Flow) -> None:
    found = trace(flow, 1)
    sums = torch.zeros(4, dtype=torch.float64)
    for edge in found.edges():
        if edge.layer == 1:
            sums[edge.source] += edge.relevance
    torch.testing.assert_close(sums, found.relevance[2])
    strong = found.edges(0.3)
    assert strong
    assert all(abs(edge.relevance) >= 0.3 for edge in strong)
    with pytest.raises(LigflowError, match="threshold is 1"):
        found.edges(1.0)


def test_the_strongest_path_is_of_the_shares(flow: Flow) -> None:
    found = trace(flow, 1)
    best = found.paths(1)[0]
    weight = 1.0
    for share, above, below in zip(found.shares, best.nodes, best.nodes[1:], strict=False):
        weight *= float(share[above, below])
    assert best.weight == pytest.approx(weight)
    assert best.nodes[0] == 1
    total = sum(path.weight for path in found.paths(64))
    assert total == pytest.approx(1)  # 4 x 4 x 4 paths are all of them


def test_tables_and_graphs(flow: Flow) -> None:
    found = trace(flow, 1)
    frame = found.to_pandas()
    assert len(frame) == 4 * 4
    assert frame[frame.after_layer.isna()]["relevance"].tolist() == pytest.approx(found.input.tolist())
    graph = found.to_networkx()
    assert graph.nodes["0:1"] == {"depth": 0, "token": 1, "label": "the", "relevance": 1.0}
    for node, data in graph.nodes(data=True):
        if data["depth"] < 3:
            arriving = sum(edge["weight"] for _, _, edge in graph.in_edges(node, data=True))
            assert arriving == pytest.approx(data["relevance"])


def padded(flow: Flow, route: str) -> Flow:
    """As where one row of one layer holds something of padding."""
    held = torch.zeros_like(flow.total(route))
    held.view(-1)[-1] = 0.1
    return replace(flow, tensors={**flow.tensors, f"{route}.hidden": held})


@pytest.mark.parametrize(
    ("change", "options", "words"),
    [
        (lambda f: f, {"token": 4}, "There is no token 4: there are 4"),
        (lambda f: f, {"token": 1, "layer": 5}, "Layer 5 is not in this flow"),
        (lambda f: f, {"token": 1, "which": "z2u"}, "Unknown map 'z2u'; choose from composed, z2z."),
        (lambda f: replace(f, layers=(0, 1, 3)), {"token": 1}, "needs layers that follow each other"),
        (lambda f: flow_of(TOKENS, targets=[1, 2], settings=SETTINGS), {"token": 1}, "has 2 of 4"),
        (lambda f: flow_of(TOKENS), {"token": 1}, "what a token keeps of itself"),
        (lambda f: flow_of(TOKENS), {"token": 1, "which": "z2z"}, "'itb' cannot be chained"),
        (
            lambda f: flow_of(TOKENS, settings=SETTINGS | {"mlp_baseline": "zero"}), {"token": 1},
            "mlp_baseline 'zero' cannot be chained",
        ),
        (
            lambda f: flow_of(TOKENS, settings=SETTINGS | {"att_baseline": "itb_zero_ratio"}), {"token": 1},
            "att_baseline 'itb_zero_ratio', mlp_baseline 'matched' cannot be chained",
        ),
        (lambda f: f.hide_special(), {"token": 1}, "without 2 hidden tokens"),
        (lambda f: flow_of(TOKENS, routes=("z2z",), settings=SETTINGS), {"token": 1}, "ask for it"),
        (lambda f: replace(f, meta=f.meta | {"memory": ["a"]}), {"token": 1}, "attend to an encoder"),
        (lambda f: padded(f, "z2z"), {"token": 1, "which": "z2z"}, "Padding takes part in the z2z maps"),
        (lambda f: padded(f, "u2z"), {"token": 1}, "Padding takes part in the u2z maps"),
        (lambda f: f, {"token": 1, "top": flow_of(["a"], layers=3)}, "other tokens"),
    ],
)  # fmt: skip
def test_what_cannot_be_traced(
    flow: Flow, change: Callable[[Flow], Flow], options: dict[str, Any], words: str
) -> None:
    with pytest.raises(LigflowError, match=words):
        trace(change(flow), **options)


@pytest.mark.parametrize("name", ["bert", "gpt2", "llama"])
@pytest.mark.parametrize("baseline", list(BASELINES))
def test_conservation_on_random_models(name: str, baseline: str) -> None:
    explainer = shared(ARCHITECTURES[name])
    explained = explainer.explain(example(ARCHITECTURES[name], tokens=4), **BASELINES[baseline])
    which = "z2z" if baseline == "itb_zero_ratio" else "composed"
    found = trace(explained, 2, which=which)
    assert found.drift < (float(found.errors.max()) if baseline == "carried" else 1e-10)
    assert (found.amount is None) == (baseline != "carried")
    assert float(found.certificates.max()) < 1e-2
    if name != "bert":
        assert float(found.relevance[:, 3].abs().max()) == 0  # nothing from the future


def test_a_direction_at_the_top_of_a_real_layer() -> None:
    explainer = Explainer(build(ARCHITECTURES["gpt2"]))
    inputs, settings = example(ARCHITECTURES["gpt2"], tokens=4), BASELINES["zero"]
    explained = explainer.explain(inputs, **settings)
    vector = torch.randn(explainer.model.config.hidden_size, generator=torch.Generator().manual_seed(1))
    last = explained.layers[-1]
    asked = {"scalarization": {"u2z": direction(vector), "z2z": direction(vector)}}
    top = explainer.explain(inputs, layers=[last], targets=[3], **asked, **settings)
    found = trace(explained, 3, top=top)
    assert found.drift < 1e-9
    assert not torch.allclose(found.relevance[1], trace(explained, 3).relevance[1])


def test_with_carried_starts_maps_that_are_linear_chain_to_their_product() -> None:
    """Tokens along one vector, `c_{l+1} = A_l c_l`: k's part of i is `(A_2 A_1 A_0)_ik c_k`, an amount."""
    draw = torch.Generator().manual_seed(4)
    first, *linear = torch.rand(4, 4, 4, generator=draw, dtype=torch.float64)
    amounts = [first[0]]
    for matrix in linear:
        amounts.append(matrix @ amounts[-1])
    maps = torch.stack([matrix * c for matrix, c in zip(linear, amounts, strict=False)])
    flow = flow_of(TOKENS, layers=3, settings=SETTINGS | {"carried": True})
    flow = replace(flow, tensors=without_errors(flow) | {"z2z": maps, "z2z.total": torch.stack(amounts[1:])})
    found = trace(flow, 1, which="z2z")
    product = linear[2] @ linear[1] @ linear[0]
    torch.testing.assert_close(found.input * found.amount, product[1] * amounts[0])
    assert found.amount == pytest.approx(float(amounts[3][1]))
    assert found.drift < 1e-12


def test_with_carried_starts_a_sum_that_is_off_is_not_divided_away(flow: Flow) -> None:
    tensors, total = without_errors(flow), flow.tensors["z2z.total"]
    tensors |= {"z2z.total": total / 0.99, "z2z.residue": total - total / 0.99}
    carried = replace(flow, tensors=tensors, meta=flow.meta | {"settings": SETTINGS | {"carried": True}})
    found = trace(carried, 2, which="z2z")
    torch.testing.assert_close(found.relevance.sum(-1), 0.99 ** torch.arange(4).double(), rtol=1e-6, atol=0)
    assert found.drift == pytest.approx(1 - 0.99**3, rel=1e-5)
    assert found.drift <= float(found.errors[-1])
    assert trace(flow, 2, which="z2z").drift < 1e-12


def test_a_carried_trace_is_that_of_integrated_gradients_by_hand() -> None:
    """Of two layers, `|F_j(z) - F_j(z(0))|` by autograd at 128 points, and starts of a run of its own."""
    explainer, inputs = Explainer(llama(2)), {"input_ids": ids(4)}
    layers = explainer.prepared.record(inputs)
    relevance, start = torch.eye(4, dtype=torch.float64)[3], layers[0].hidden.mean(0).expand(4, -1)
    maps, totals = [], []
    for layer in layers:
        with keep_double(), prepared(layer.module, layer.implementation):
            shared, start = _by_hand(layer, start)
        totals.append(shared.sum(-1))
        maps.append(shared)
    found = trace(explainer.explain(inputs, **BASELINES["carried"], tol=1e-9), 3, which="z2z")
    for depth, (shared, total) in enumerate(zip(reversed(maps), reversed(totals), strict=True), start=1):
        relevance = relevance @ (shared / total[:, None])
        assert (found.relevance[depth] - relevance).abs().max() < 1e-8
    assert found.amount == pytest.approx(float(totals[-1][3]), rel=1e-8)
    assert (
        trace(explainer.explain(inputs, **BASELINES["mean"]), 3, which="z2z").input - relevance
    ).abs().max() > 0.01


def _by_hand(layer: Layer, start: Tensor) -> tuple[Tensor, Tensor]:
    """The map of a layer from a start, and where that arrives."""
    nodes, weights = (torch.from_numpy(each) / 2 for each in np.polynomial.legendre.leggauss(128))
    points = (start + (nodes + 0.5)[:, None, None] * (layer.hidden - start)).requires_grad_()
    with torch.no_grad():
        arrived = layer.forward(start[None])[0]
    moved = layer.forward(points) - arrived
    rows = []
    for target in range(len(start)):
        (grad,) = torch.autograd.grad(moved[:, target].norm(dim=-1) @ weights, points, retain_graph=True)
        rows.append((grad * (layer.hidden - start)).sum((0, 2)))
    return torch.stack(rows), arrived


@pytest.mark.parametrize("which", ["composed", "z2z"])
@pytest.mark.parametrize("make", [llama, gpt2])
def test_a_carried_trace_is_off_by_no_more_than_its_errors(make, which: str) -> None:
    explainer, inputs = Explainer(make(3)), {"input_ids": ids(5)}
    coarse, fine = (explainer.explain(inputs, **BASELINES["carried"], tol=tol) for tol in (3e-3, 1e-8))
    for token in range(1, 5):
        found, exact = (trace(flow, token, which=which) for flow in (coarse, fine))
        apart = (found.relevance - exact.relevance).abs().sum(-1)
        assert (apart <= found.errors + 1e-9).all()
        assert found.drift <= float(found.errors.max()) + 1e-12


def test_a_first_step_that_starts_elsewhere_is_refused(flow: Flow) -> None:
    carried = replace(flow, meta=flow.meta | {"settings": SETTINGS | {"carried": True}})
    top = flow_of(TOKENS, layers=3, targets=[2], seed=9, settings=SETTINGS)
    for below, first in ((carried, top), (flow, replace(top, meta=carried.meta))):
        with pytest.raises(
            LigflowError, match="starts elsewhere than where the layers below carry their start"
        ):
            trace(below, 2, which="z2z", top=first)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["embedded:minilm", "embedded:gemma-3-270m"])
def test_all_layers_of_real_models_conserve(model: str) -> None:
    explainer = Explainer.from_pretrained(model)
    text = "The keeper counted the ships."
    explained = explainer.explain(text, **(BASELINES["mean"] | {"routes": ("z2z",)}))
    found = trace(explained, len(explained.tokens) - 2, which="z2z")
    assert len(found.layers) == (6 if model == "embedded:minilm" else 18)
    assert found.drift < 1e-9
    assert float(found.certificates.max()) < 2e-2
    assert found.unmet == 0
