"""The second attention of a decoder: the engine against autograd with both sets of sources."""

import pytest
import torch
from torch import nn

from architectures import build
from encoder_decoders import CASES, DECODERS, explainer_of, inputs_of, pairs
from ligflow import Explainer
from ligflow.layer.interface import Captured
from ligflow.layer.model_state import prepared
from ligflow.method.attention import ScoreTerms
from ligflow.method.quadrature import Fixed
from ligflow.method.scalarization import L2
from ligflow.paths.cross_attention import GivenCrossAttention, cross_path
from ligflow.routes.integration import attribute

LIMIT = {torch.float32: 1e-4, torch.float64: 1e-9}
RULE, BUDGET = Fixed("gauss-legendre:3"), 2**28  # bytes: to ask what is free takes a tenth of an integral


@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize(("name", "tokens", "padding"), CASES)
def test_engine_equals_autograd_through_the_unmodified_layer(
    name: str, tokens: int, padding: int, dtype: torch.dtype
) -> None:
    explainer = explainer_of(name, dtype)
    for layer in explainer.prepared.record(inputs_of(name, tokens, padding, dtype)):
        assert (layer.mode, layer.findings.memory) == ("split", "encoder_hidden_states")
        with prepared(layer.module, layer.implementation):
            for baseline, encoder in (("itb", "mean"), ("zero", "zero"), ("mean", "zero"), ("zero", "mean")):
                for route, engine, oracle, place in pairs(layer, baseline, encoder, padding):
                    if route != "u2z" and (encoder, dtype) == ("mean", torch.float32):
                        continue  # its direction is rounding at the start: integrated in float64
                    ours = attribute(engine, place.targets, L2(), RULE, memory_budget=BUDGET)
                    theirs = attribute(oracle, place.targets, L2(), RULE, memory_budget=BUDGET)
                    gap = (ours.value - theirs.value).abs().amax(-1)
                    allowed = (LIMIT[dtype] * ours.scale).clamp(min=theirs.floor / 100)
                    assert (gap <= allowed).all(), f"{route} {baseline} {encoder} layer {layer.index}"
                    floor = float(theirs.floor.max())
                    torch.testing.assert_close(ours.total, theirs.total, rtol=1e-4, atol=floor)


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


@pytest.mark.usefixtures("no_shape_checks")
def test_keys_of_the_encoder_that_no_straight_line_gives_are_captured() -> None:
    model = build(DECODERS["bart"], torch.float64)
    for layer in model.decoder.layers:
        layer.encoder_attn.k_proj = nn.Sequential(layer.encoder_attn.k_proj, nn.LayerNorm(32).double())
    explainer = Explainer(model, stack="decoder")
    for layer in explainer.prepared.record(inputs_of("bart", 4, 0, torch.float64)):
        with prepared(layer.module, layer.implementation):
            for route, engine, oracle, place in pairs(layer, "itb", "zero", 0):
                ours, theirs = (
                    attribute(one, place.targets, L2(), Fixed("gauss-legendre:3")) for one in (engine, oracle)
                )
                gap = ((ours.value - theirs.value).abs().amax(-1) / theirs.scale).max()
                assert gap < 1e-9, route


@pytest.mark.parametrize("name", ["bart", "t5"])
def test_a_straight_memory_has_keys_and_values_in_closed_form(name: str) -> None:
    """Of the memory at any point, as the layer makes them; their steps are what they move by."""
    layer = explainer_of(name, torch.float64).prepared.record(inputs_of(name, 3, 0, torch.float64))[0]
    nodes, start = torch.tensor([0.2, 0.7], dtype=torch.float64), 0.5 * layer.encoded.flip(0)
    with prepared(layer.module, layer.implementation):
        path = cross_path(layer, start)
        memory = path.at(nodes)
        expected = layer.capture_second(start + nodes[:, None, None] * (layer.encoded - start))
    torch.testing.assert_close(memory.key, expected.key)
    torch.testing.assert_close(memory.value, expected.value)
    torch.testing.assert_close(2 * (memory.key[1] - memory.key[0]), memory.key_step[0])
    assert len(memory.key_step) == len(memory.value_step) == 1  # a line has one step
    assert path.tokens == 7


def test_a_given_second_attention_stands_at_its_targets() -> None:
    u = torch.arange(24.0).reshape(1, 2, 3, 4)
    given = GivenCrossAttention(u, torch.tensor([4, 1]), 5)
    key = torch.zeros(1, 3, 5, 4)
    whole = given(Captured(key, key, key, ScoreTerms(1.0)))
    assert whole.shape == (1, 3, 5, 4)
    assert torch.equal(whole[:, :, [4, 1]], u.transpose(1, 2))
    assert whole[:, :, [0, 2, 3]].abs().max() == 0
