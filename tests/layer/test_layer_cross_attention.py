"""Decoders with a second attention: the engine against autograd with both sets of sources."""

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import Tensor, nn

from architectures import ARCHITECTURES, Architecture, build
from ligflow import Explainer, Flow, LigflowError, attribute_layer
from ligflow.layer.layer import Layer
from ligflow.layer.model_state import prepared
from ligflow.method.baselines import cross_start, source_start
from ligflow.paths.batch import alone
from ligflow.paths.cross_attention import CrossPath
from ligflow.results.join import join
from ligflow.results.tracing import trace
from ligflow.routes import autograd
from ligflow.routes.e2u import e2u_map
from ligflow.routes.integration import attribute
from ligflow.routes.path_map import PathMap
from ligflow.routes.players import players_of
from ligflow.routes.u2z import u2z_map
from ligflow.routes.workspace import Selection, Workspace
from ligflow.routes.z2z import z2z_map
from ligflow.settings import Settings
from ligflow.view.terminal import report

LIMIT = {torch.float32: 1e-4, torch.float64: 1e-9}
_BART = ARCHITECTURES["bart"].config | {"decoder_layers": 2}
DECODERS = {
    "t5": ARCHITECTURES["t5"],
    "bart": Architecture("BartModel", _BART),
    "mvp": Architecture("MvpModel", _BART),  # off the interface, with a mask for each example
    "fsmt": Architecture(  # tokens before examples
        "FSMTModel",
        {"langs": ["en", "de"], "src_vocab_size": 64, "tgt_vocab_size": 64}
        | {name: value for name, value in _BART.items() if name != "vocab_size"},
    ),
    "marian": Architecture("MarianModel", _BART | {"pad_token_id": 0, "decoder_start_token_id": 0}),
    "pegasus": Architecture("PegasusModel", _BART),
    "whisper": ARCHITECTURES["whisper"],
}
CASES = [
    (name, tokens, padding) for name in DECODERS for tokens in (1, 2, 6) for padding in (0, 2)
    if (name != "whisper" or not padding) and (name != "fsmt" or tokens > 1)  # of one, its axes do not tell
]  # fmt: skip


def inputs_of(name: str, tokens: int, padding: int, dtype: torch.dtype) -> dict[str, Tensor]:
    """A decoder's input of `tokens` tokens beside an encoder's of 7, some of them padding."""
    generator = torch.Generator().manual_seed(tokens)
    decoder = {"decoder_input_ids": torch.randint(3, 60, (1, tokens), generator=generator)}
    if name == "whisper":
        return decoder | {"input_features": torch.randn(1, 8, 18, generator=generator).to(dtype)}
    mask = torch.ones(1, 7, dtype=torch.long)
    mask[:, 7 - padding :] = 0
    ids = torch.randint(3, 60, (1, 7), generator=generator)
    return decoder | {"input_ids": ids, "attention_mask": mask}


def explainer_of(name: str, dtype: torch.dtype = torch.float32) -> Explainer:
    return Explainer(build(DECODERS[name], dtype), stack="decoder")


def pairs(
    layer: Layer, baseline: str, encoder: str, padding: int
) -> Iterator[tuple[str, PathMap, PathMap, Selection]]:
    """Each route as engine and oracle, with the tokens that are not padding."""
    everyone = torch.arange(len(layer.hidden))
    place = Selection(everyone, everyone, torch.arange(len(layer.encoded) - padding))
    work = Workspace(alone(layer), (place,))
    start = source_start(baseline, layer.hidden, everyone)
    memory = cross_start(encoder, layer.encoded, place.memory)
    cross = work.cross(encoder)
    assert isinstance(cross, CrossPath)
    yield "z2z", z2z_map(work.path(baseline), cross), autograd.z2z(layer, start, memory), place
    yield "e2u", e2u_map(cross), autograd.e2u(layer, memory), place
    players = players_of(
        work, Settings(att_baseline=baseline, mlp_baseline="matched", encoder_baseline=encoder)
    )
    yield "u2z", u2z_map(work.batch, players), autograd.u2z(layer, players), place


@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize(("name", "tokens", "padding"), CASES)
def test_engine_equals_autograd_through_the_unmodified_layer(
    name: str, tokens: int, padding: int, dtype: torch.dtype
) -> None:
    explainer = explainer_of(name, dtype)
    for layer in explainer.record(inputs_of(name, tokens, padding, dtype)):
        assert (layer.refusal, layer.memory) == ("", "encoder_hidden_states")
        with prepared(layer.module, layer.implementation):
            for baseline, encoder in (("itb", "mean"), ("zero", "zero"), ("mean", "zero"), ("zero", "mean")):
                for route, engine, oracle, place in pairs(layer, baseline, encoder, padding):
                    if route != "u2z" and (encoder, dtype) == ("mean", torch.float32):
                        continue  # its direction is rounding at the start: integrated in float64
                    ours = attribute(engine, place.targets, "l2", "gauss-legendre:3")
                    theirs = attribute(oracle, place.targets, "l2", "gauss-legendre:3")
                    gap = (ours.value - theirs.value).abs().amax(-1)
                    allowed = (LIMIT[dtype] * ours.scale).clamp(min=theirs.floor / 100)
                    assert (gap <= allowed).all(), f"{route} {baseline} {encoder} layer {layer.index}"
                    floor = float(theirs.floor.max())
                    torch.testing.assert_close(ours.total, theirs.total, rtol=1e-4, atol=floor)


@pytest.fixture(scope="module", params=list(DECODERS))
def flow(request: pytest.FixtureRequest) -> Flow:
    return explainer_of(request.param).explain(inputs_of(request.param, 5, 0, torch.float32))


@pytest.mark.filterwarnings("ignore::ligflow.errors.CompletenessWarning")
@pytest.mark.parametrize("name", list(DECODERS))
def test_float32_gives_what_float64_gives(name: str) -> None:
    single, double = (
        explainer_of(name, dtype).explain(inputs_of(name, 5, 0, dtype), quadrature="gauss-legendre:64")
        for dtype in (torch.float32, torch.float64)
    )
    for route, part in (("z2z", "z2z"), ("z2z", "z2z_cross"), ("e2u", "e2u")):
        gap = (single.tensors[part] - double.tensors[part]).abs().amax(-1)
        assert (gap <= 2e-4 * double.tensors[f"{route}.scale"]).all(), part


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


@pytest.mark.usefixtures("no_shape_checks")
def test_keys_of_the_encoder_that_no_straight_line_gives_are_captured() -> None:
    model = build(DECODERS["bart"], torch.float64)
    for layer in model.decoder.layers:
        layer.encoder_attn.k_proj = nn.Sequential(layer.encoder_attn.k_proj, nn.LayerNorm(32).double())
    explainer = Explainer(model, stack="decoder")
    for layer in explainer.record(inputs_of("bart", 4, 0, torch.float64)):
        with prepared(layer.module, layer.implementation):
            for route, engine, oracle, place in pairs(layer, "itb", "zero", 0):
                ours, theirs = (
                    attribute(one, place.targets, "l2", "gauss-legendre:3") for one in (engine, oracle)
                )
                gap = ((ours.value - theirs.value).abs().amax(-1) / theirs.scale).max()
                assert gap < 1e-9, route


@pytest.mark.parametrize(
    ("stack", "decodes"),
    [
        ("decoder", True), ("encoder", False), ("decoder.bert.encoder.layer.*", True),
        ("text_encoder", False), ("model.decoder", True),
    ],
)  # fmt: skip
def test_a_decoder_may_hold_what_is_called_an_encoder(stack: str, decodes: bool) -> None:
    assert Explainer(build(DECODERS["bart"]), stack=stack).decodes is decodes


@pytest.mark.usefixtures("no_shape_checks")
def test_a_stack_is_a_name() -> None:
    with pytest.raises(LigflowError, match="stack is 3; give a part of the stack's name"):
        Explainer(build(DECODERS["bart"]), stack=3)  # type: ignore[arg-type]


def test_a_flow_without_an_encoder_says_where_e2u_comes_from() -> None:
    flow = Explainer(build(ARCHITECTURES["bert"])).explain({"input_ids": torch.tensor([[5, 6]])})
    with pytest.raises(LigflowError, match="it comes with z2u where layers attend to an encoder"):
        flow.total("e2u")
