"""Layers whose attention is no map of one query, key and value a token: autograd, certified as others."""

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from architectures import _GROUPED, ARCHITECTURES, Architecture, build, example
from hand_made import Mixing
from ligflow import Explainer, UnsupportedModel
from ligflow.evaluation.removal import ablation
from ligflow.layer.layer import Layer
from ligflow.layer.model_state import prepared
from ligflow.method.baselines import Itb
from ligflow.method.quadrature import Fixed
from ligflow.method.scalarization import L2
from ligflow.paths.batch import alone
from ligflow.routes.explain_layer import explain_layer
from ligflow.routes.integration import attribute
from ligflow.routes.workspace import Selection, Workspace
from ligflow.routes.z2u import z2u_from
from ligflow.settings import ask
from sweep.made_up import runs
from sweep.verdicts import build as build_tiny

DOGE = Architecture("DogeModel", _GROUPED)  # its mask is made of the values
DIFFERENTIAL = Architecture("DiffLlamaModel", _GROUPED)  # attends twice, with halves of the values


def heads_by_hook(model: PreTrainedModel, layer: Layer, hidden: Tensor) -> Tensor:
    """What the unmodified layer, with its own attention, gives its output projection: `[T, heads, dim]`."""
    seen: list[Tensor] = []
    hook = layer.module.self_attn.o_proj.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    try:
        with prepared(layer.module, "eager"):
            layer.forward(hidden[None])
    finally:
        hook.remove()
    return seen[0][0].unflatten(-1, (4, -1))


def by_hand(model: PreTrainedModel, layer: Layer, target: int, head: int) -> Tensor:
    """`IG_k` of one head's norm from `z_k(0) = z_j`, with three Gauss-Legendre points, written out."""
    nodes = torch.tensor([0.5 - 0.15**0.5, 0.5, 0.5 + 0.15**0.5], dtype=torch.float64)
    start = layer.hidden[target].expand_as(layer.hidden)
    first = heads_by_hook(model, layer, start)[target, head].detach()
    found = torch.zeros(len(layer.hidden), dtype=torch.float64)
    for node, weight in zip(nodes, (5 / 18, 8 / 18, 5 / 18), strict=True):
        path = (start + node * (layer.hidden - start)).requires_grad_()
        moved = (heads_by_hook(model, layer, path)[target, head] - first).norm()
        (gradient,) = torch.autograd.grad(moved, path)
        found += weight * ((layer.hidden - start) * gradient).sum(-1)
    return found


@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.parametrize("tokens", [2, 6])
def test_z2u_is_autograd_through_the_unmodified_layer(tokens: int) -> None:
    explainer = Explainer(build(DOGE, torch.float64))
    for layer in explainer.prepared.record(example(DOGE, tokens)):
        assert layer.mode != "whole"
        assert layer.findings.reason == "its mask or position bias depends on the hidden states"
        everyone = torch.arange(tokens)
        with prepared(layer.module):
            route = z2u_from(Workspace(alone(layer), (Selection(everyone, everyone),)), Itb())
            found = attribute(route, everyone, L2(), Fixed("gauss-legendre:3"))
        for target, head in ((tokens - 1, 0), (tokens - 1, 3), (1, 2)):
            expected = by_hand(explainer.model, layer, target, head)
            gap = (found.value[target, head] - expected).abs().max()
            assert gap <= 1e-9 * found.scale[target, head]


@pytest.mark.parametrize("tokens", [1, 2, 6])
@pytest.mark.parametrize("baseline", ["itb", "zero", "mean"])
def test_all_routes_are_certified(tokens: int, baseline: str) -> None:
    flow = Explainer(build(DOGE)).explain(
        example(DOGE, tokens), att_baseline=baseline, mlp_baseline="matched", layer_baseline=baseline
    )
    assert flow.routes == ("z2u", "u2z", "z2z")
    assert not flow.unmet
    torch.testing.assert_close(flow.composed().sum(-1), flow.total("z2z"), rtol=3e-3, atol=1e-4)
    assert any("its mask or position bias depends" in note for note in flow.meta["notes"])


def test_what_autograd_gives_is_what_the_engine_gives() -> None:
    model, inputs = build(ARCHITECTURES["llama"], torch.float64), example(ARCHITECTURES["llama"], 5)
    explainer, settings = Explainer(model), ask(mlp_baseline="matched")
    for layer in explainer.prepared.record(inputs):
        everyone = torch.arange(5)
        place = Selection(everyone, everyone)
        other = layer.coupled("for the test").with_findings(closed_form=None, projections={})
        with prepared(layer.module):
            ours, theirs = (explain_layer(one, settings, place) for one in (layer, other))
        for route, one in ours.items():
            torch.testing.assert_close(one.total, theirs[route].total, rtol=1e-9, atol=1e-12)
            gap = (one.value - theirs[route].value).abs().amax(-1) / one.scale
            assert gap.max() < 2e-3


def test_projections_without_forward_derivatives_are_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    class Opaque(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, hidden: Tensor) -> Tensor:
            return hidden.clone()

        @staticmethod
        def backward(ctx: object, gradient: Tensor) -> Tensor:
            return gradient

    model = build(ARCHITECTURES["llama"])
    for layer in model.layers:
        project = layer.self_attn.q_proj.forward
        forward = lambda hidden, _project=project: _project(Opaque.apply(hidden))  # noqa: E731
        monkeypatch.setattr(layer.self_attn.q_proj, "forward", forward)
    inputs = example(ARCHITECTURES["llama"], 5)
    expected = Explainer(build(ARCHITECTURES["llama"])).explain(inputs)
    found = Explainer(model).explain(inputs)
    assert any("forward-mode differentiation" in note for note in found.meta["notes"])
    for route in ("z2u", "u2z", "z2z"):
        torch.testing.assert_close(found.tensors[route], expected.tensors[route], rtol=2e-3, atol=2e-3)


def test_tokens_that_meet_before_attention_are_explained() -> None:
    model = build(ARCHITECTURES["llama"])
    for layer in model.layers:
        layer.input_layernorm = Mixing(layer.input_layernorm)
    flow = Explainer(model).explain(example(ARCHITECTURES["llama"], 5))
    assert any("the query of a token depends on other tokens" in note for note in flow.meta["notes"])
    assert not flow.unmet


@pytest.mark.usefixtures("no_shape_checks")
def test_two_attentions_are_more_heads() -> None:
    explainer, inputs = Explainer(build(DIFFERENTIAL)), example(DIFFERENTIAL, 5)
    flow = explainer.explain(inputs, mlp_baseline="matched")
    assert (flow.heads, explainer.prepared.size(inputs)) == (8, (2, 8))
    assert not flow.unmet
    torch.testing.assert_close(flow.composed().sum(-1), flow.total("z2z"), rtol=3e-3, atol=1e-4)
    with pytest.raises(UnsupportedModel, match="no attention weights from token to token: it is 2 attention"):
        explainer.attention(inputs)


@pytest.mark.usefixtures("no_shape_checks")
def test_keys_of_another_input_are_held_and_said_to_be() -> None:
    model = build_tiny("idefics2_perceiver")
    inputs, _ = runs(model)
    explainer = Explainer(model)
    flow = explainer.explain(inputs, layers=0, targets=[0, 3], routes=("z2u", "u2z"))
    assert not flow.unmet
    assert any("70 keys for 64 tokens" in note and "are held" in note for note in flow.meta["notes"])
    with pytest.raises(UnsupportedModel, match="no attention weights from token to token: it sees 70 keys"):
        explainer.attention(inputs, layers=0)


def test_its_sources_are_not_removed() -> None:
    explainer = Explainer(build(DOGE))
    layer = explainer.prepared.record(example(DOGE, 4))[0]
    everyone = torch.arange(4)
    with pytest.raises(UnsupportedModel, match="cannot be removed: its mask or position bias depends"):
        ablation(layer, Selection(everyone, everyone), "zero")


def test_a_second_attention_to_something_else_is_no_more_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    """BART's decoder, whose encoder states have another name and are as many as its own tokens."""
    monkeypatch.setattr("ligflow.recording.call._ENCODER_STATES", "states_of_the_encoder")
    explainer = Explainer(build(ARCHITECTURES["bart"]), stack="decoder")
    ids = torch.tensor([[5, 6, 7]])
    layers = explainer.prepared.record({"input_ids": ids, "decoder_input_ids": ids + 1})
    assert [layer.findings.reason for layer in layers] == [
        "it calls attention 2 times, not always with keys of its own tokens"
    ]
