"""Flows of decoders with a second attention: both sets of sources, certificates, files, tables, refusals."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from architectures import ARCHITECTURES, build
from encoder_decoders import DECODERS, explainer_of, inputs_of
from ligflow import Explainer, Flow, LigflowError, attribute_layer
from ligflow.results.join import join
from ligflow.results.tracing import trace
from ligflow.view.terminal import report


@pytest.fixture(scope="module", params=list(DECODERS))
def flow(request: pytest.FixtureRequest) -> Flow:
    return explainer_of(request.param).explain(inputs_of(request.param, 5, 0, torch.float32))


def test_both_sets_of_sources_share_one_certificate(flow: Flow) -> None:
    assert not flow.unmet
    assert flow.routes == ("z2u", "u2z", "z2z", "e2u")
    both = flow.z2z.sum(-1) + flow.z2z_cross.sum(-1)
    assert ((both - flow.total("z2z")).abs() <= 1e-3 * flow.total("z2z")).all()
    assert (flow.z2z_cross.abs().sum(-1) > 1e-3 * flow.total("z2z")).all()
    heads = flow.u2z.sum(1) + flow.u2z_cross.sum(1) + flow.u2z_residual
    assert ((heads - flow.total("u2z")).abs() <= 1e-3 * flow.total("u2z")).all()
    assert ((flow.e2u.sum(-1) - flow.total("e2u")).abs() <= 1e-3 * flow.total("e2u")).all()


def test_composed_and_direct_maps_have_the_same_totals(flow: Flow) -> None:
    composed = flow.composed().sum(-1) + flow.composed_cross().sum(-1)
    assert ((composed - flow.total("z2z")).abs() <= 2e-3 * flow.total("z2z")).all()
    product = flow.composed("product").sum(-1) + flow.composed_cross("product").sum(-1)
    expected = (flow.z2u.sum(-1) * flow.u2z).sum(1) + (flow.e2u.sum(-1) * flow.u2z_cross).sum(1)
    torch.testing.assert_close(product, expected, rtol=1e-4, atol=1e-5)


def test_the_encoder_baseline_changes_what_its_tokens_have() -> None:
    explainer, inputs = explainer_of("bart"), inputs_of("bart", 4, 0, torch.float32)
    mean, zero = (explainer.explain(inputs, encoder_baseline=name) for name in ("mean", "zero"))
    vector = torch.zeros(32)
    given = explainer.explain(inputs, encoder_baseline=vector)
    torch.testing.assert_close(given.e2u, zero.e2u)
    torch.testing.assert_close(given.z2z_cross, zero.z2z_cross)
    assert (mean.z2z_cross - zero.z2z_cross).abs().max() > 0.01
    assert mean.meta["settings"]["encoder_baseline"] == "mean"


@pytest.mark.filterwarnings("ignore::ligflow.CompletenessWarning")  # few points
def test_padding_of_the_encoder_is_no_source() -> None:
    explainer = explainer_of("t5")
    inputs = inputs_of("t5", 4, 2, torch.float32)
    flow = explainer.explain(inputs, quadrature="gauss-legendre:8")
    assert len(flow.memory) == 5
    cut = inputs | {
        "input_ids": inputs["input_ids"][:, :5],
        "attention_mask": torch.ones(1, 5, dtype=torch.long),
    }
    alone = explainer.explain(cut, quadrature="gauss-legendre:8")
    torch.testing.assert_close(flow.z2z_cross, alone.z2z_cross, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(flow.e2u, alone.e2u, rtol=1e-4, atol=1e-5)


def test_an_encoder_decoder_given_only_encoder_inputs_is_refused() -> None:
    inputs = inputs_of("bart", 3, 0, torch.float32)
    del inputs["decoder_input_ids"]
    with pytest.raises(LigflowError, match=r"inputs of the encoder alone \(input_ids, attention_mask\)"):
        explainer_of("bart").explain(inputs)


def test_decoder_inputs_ask_for_the_decoder() -> None:
    with pytest.raises(LigflowError, match="stack='decoder'"):
        Explainer(build(DECODERS["bart"])).explain(inputs_of("bart", 3, 0, torch.float32))


def test_an_unknown_stack_is_refused_with_those_there_are() -> None:
    explainer = Explainer(build(DECODERS["bart"]), stack="tower")
    with pytest.raises(LigflowError, match=r"it has encoder\.layers\.\*, decoder\.layers\.\*"):
        explainer.explain(inputs_of("bart", 3, 0, torch.float32) | {})


def test_a_wrong_encoder_baseline_is_refused() -> None:
    explainer, inputs = explainer_of("bart"), inputs_of("bart", 3, 0, torch.float32)
    with pytest.raises(LigflowError, match="choose from mean, zero"):
        explainer.explain(inputs, encoder_baseline="itb")
    with pytest.raises(LigflowError, match="one finite vector of size 32"):
        explainer.explain(inputs, encoder_baseline=torch.zeros(7, 32))


def test_a_lone_attention_has_no_memory() -> None:
    flow = Explainer(build(ARCHITECTURES["bert"])).explain({"input_ids": torch.tensor([[5, 6, 7]])})
    assert (flow.memory, flow.cross_heads, "e2u" in flow.routes) == ([], 0, False)
    with pytest.raises(LigflowError, match="not e2u"):
        flow.e2u  # noqa: B018


def test_one_list_of_sources_holds_the_same_numbers(flow: Flow) -> None:
    one = flow.over_both()
    own, heads = len(flow.tokens), flow.heads
    assert one.tokens == [*flow.tokens, *(f"e:{token}" for token in flow.memory)]
    assert (one.heads, one.targets, one.routes) == (2 * heads, flow.targets, ("z2u", "u2z", "z2z"))
    torch.testing.assert_close(one.z2z[..., own:], flow.z2z_cross)
    torch.testing.assert_close(one.z2u[:, :heads, :, :own], flow.z2u)
    torch.testing.assert_close(one.z2u[:, heads:, :, own:], flow.e2u)
    assert not one.z2u[:, :heads, :, own:].any()
    assert not one.z2u[:, heads:, :, :own].any()
    for rule in ("conserving", "product"):
        both = torch.cat([flow.composed(rule), flow.composed_cross(rule)], dim=-1)
        torch.testing.assert_close(one.composed(rule), both)
    assert one.worst_certificate() == flow.worst_certificate()
    assert one.over_both() is one


def test_a_saved_decoder_flow_is_read_again(flow: Flow, tmp_path: Path) -> None:
    again = Flow.load(flow.save(tmp_path / "decoder.flow"))
    assert (again.memory, again.cross_heads) == (flow.memory, flow.cross_heads)
    for name, tensor in flow.tensors.items():
        torch.testing.assert_close(again.tensors[name], tensor)


def test_a_decoder_flow_without_its_second_attention_is_damaged(flow: Flow, tmp_path: Path) -> None:
    tensors = {name: one for name, one in flow.tensors.items() if name != "z2z_cross"}
    path = replace(flow, tensors=tensors).save(tmp_path / "damaged.flow")
    with pytest.raises(LigflowError, match="it holds no z2z_cross"):
        Flow.load(path)


def test_tables_name_the_encoders_tokens(flow: Flow) -> None:
    table = flow.to_pandas()
    rows = table[(table.route == "z2z") & (table.source >= len(flow.tokens))]
    assert rows.value.sum() == pytest.approx(float(flow.z2z_cross.sum()), rel=1e-4)
    assert set(rows.source_token) == {f"e:{token}" for token in flow.memory}
    assert flow.to_xarray()["z2u"].shape == (
        *flow.z2u.shape[:1],
        2 * flow.heads,
        *flow.over_both().z2u.shape[2:],
    )


def test_special_tokens_of_both_sides_are_hidden() -> None:
    flow = explainer_of("bart").explain(inputs_of("bart", 4, 0, torch.float32))
    marked = replace(flow, special=(True, False, False, False),
                     meta=dict(flow.meta) | {"memory_special": [True, *[False] * 6]})  # fmt: skip
    hidden = marked.hide_special()
    assert len(hidden.tokens) == 3 + 6
    lost = flow.z2z[:, 1:, 0] + flow.z2z_cross[:, 1:, 0]
    torch.testing.assert_close(hidden.hidden("z2z"), lost, rtol=1e-4, atol=1e-5)


def test_a_decoder_flow_cannot_be_traced(flow: Flow) -> None:
    with pytest.raises(LigflowError, match="attend to an encoder"):
        trace(flow, 0)


def test_the_terminal_shows_both(flow: Flow) -> None:
    console = Console(width=120, record=True, file=io.StringIO())
    report(flow, console, view="z2z", layer=0, special=True)
    said = console.export_text()
    assert all(f"e:{token}"[:4] in said for token in flow.memory)
    assert "are the encoder's" in said


def test_a_lone_decoder_layer_holds_the_encoders_states() -> None:
    model, flows = build(DECODERS["bart"]), []

    def hook(module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        flows.append(attribute_layer(module, *args, **kwargs))

    model.decoder.layers[0].register_forward_pre_hook(hook, with_kwargs=True)
    with torch.no_grad():
        model(**inputs_of("bart", 4, 0, torch.float32), use_cache=False)
    (flow,) = flows
    assert (flow.routes, flow.memory, flow.heads) == (("z2u", "u2z", "z2z"), [], 4)
    assert any("states are held" in note for note in flow.meta["notes"])
    assert not flow.unmet


def test_an_encoder_baseline_without_an_encoder_is_refused() -> None:
    explainer = Explainer(build(ARCHITECTURES["bert"]))
    with pytest.raises(LigflowError, match="encoder_baseline does nothing in layer 0"):
        explainer.explain({"input_ids": torch.tensor([[5, 6, 7]])}, encoder_baseline="zero")


def test_joined_flows_of_a_decoder_share_the_start_of_its_encoder() -> None:
    decoder = explainer_of("bart")
    given = inputs_of("bart", 3, 0, torch.float32)
    whole = decoder.explain(given, mlp_baseline="matched")
    parts = [
        decoder.explain(given, routes=route, mlp_baseline="matched", att_baseline="itb")
        for route in ("z2u", "u2z", "z2z")
    ]
    found = join(parts)
    assert found.routes == whole.routes == ("z2u", "u2z", "z2z", "e2u")
    torch.testing.assert_close(found.composed_cross(), whole.composed_cross(), rtol=1e-4, atol=1e-5)
    with pytest.raises(LigflowError, match="start them elsewhere"):
        join([parts[0], decoder.explain(given, routes="u2z", encoder_baseline="zero")])


@pytest.mark.parametrize(
    ("stack", "decodes"),
    [
        ("decoder", True), ("encoder", False), ("decoder.bert.encoder.layer.*", True),
        ("text_encoder", False), ("model.decoder", True),
    ],
)  # fmt: skip
def test_a_decoder_may_hold_what_is_called_an_encoder(stack: str, decodes: bool) -> None:
    assert Explainer(build(DECODERS["bart"]), stack=stack).prepared.decodes is decodes


@pytest.mark.usefixtures("no_shape_checks")
def test_a_stack_is_a_name() -> None:
    with pytest.raises(LigflowError, match="stack is 3; give a part of the stack's name"):
        Explainer(build(DECODERS["bart"]), stack=3)  # type: ignore[arg-type]


def test_a_flow_without_an_encoder_says_where_e2u_comes_from() -> None:
    flow = Explainer(build(ARCHITECTURES["bert"])).explain({"input_ids": torch.tensor([[5, 6]])})
    with pytest.raises(LigflowError, match="it comes with z2u where layers attend to an encoder"):
        flow.total("e2u")
