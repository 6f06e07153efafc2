"""Attention over windows: as one attention of all tokens, and back."""

import pytest
import torch

from architectures import Architecture, build
from ligflow import Explainer, LigflowError, UnsupportedModel
from ligflow.layer.layer import Layer
from ligflow.layer.model_state import prepared
from ligflow.layer.windows import Windows, order_by_bits, windows_of
from ligflow.method import from_names
from ligflow.method.attention import ScoreTerms, attention_output, attention_weights
from ligflow.method.quadrature import Fixed
from ligflow.method.scalarization import L2
from ligflow.paths.batch import alone
from ligflow.routes import autograd
from ligflow.routes.integration import attribute
from ligflow.routes.players import players_of
from ligflow.routes.u2z import u2z_map
from ligflow.routes.workspace import Selection, Workspace
from ligflow.routes.z2u import z2u_from
from ligflow.routes.z2z import z2z_from
from ligflow.settings import ask

ORDER = torch.tensor([0, 1, 4, 5, 2, 3, 6, 7, 8, 9])
CALLS = ((2, 4), (1, 2))  # two windows of four tokens at once, then one of two
SAM = Architecture(
    "Sam3ViTModel",
    {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 48,
     "image_size": 16, "pretrain_image_size": 16, "patch_size": 4, "window_size": 2,
     "global_attn_indexes": [2]},
)  # fmt: skip

SWIN = {
    "embed_dim": 32, "depths": [2, 2], "num_heads": [4, 4], "image_size": 16, "patch_size": 4,
    "window_size": 2, "mlp_ratio": 2.0,
}  # fmt: skip


def attended(part: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    return attention_output(attention_weights(part, part, ScoreTerms(0.5, bias, None, None)), part)


@pytest.mark.parametrize("order", [None, ORDER])
@pytest.mark.parametrize("heads", [1, 3])
def test_one_attention_over_all_tokens_is_that_of_each_window(order: torch.Tensor | None, heads: int) -> None:
    windows = Windows(CALLS, order)
    x = torch.randn(1, 3, 10, 8, dtype=torch.float64)
    parts = windows.parts(x.transpose(1, 2))
    assert [part.shape for part in parts] == [(2, 3, 4, 8), (1, 3, 2, 8)]
    biases = [torch.randn(2, heads, 4, 4, dtype=torch.float64), None]
    whole = windows.whole(parts)
    assert torch.equal(whole, x)
    found = attended(whole, windows.bias(biases, x))
    expected = windows.whole([attended(*one) for one in zip(parts, biases, strict=True)])
    torch.testing.assert_close(found, expected)


def test_parts_of_several_examples_stay_apart() -> None:
    windows = Windows(CALLS, ORDER)
    u = torch.randn(3, 10, 2, 8)
    parts = windows.parts(u)
    assert [len(part) for part in parts] == [6, 3]
    assert torch.equal(windows.whole(parts).transpose(1, 2), u)


def test_windows_are_known_from_the_calls() -> None:
    assert windows_of([(2, 4), (1, 2)], [(2, 4), (1, 2)], 10).calls == CALLS
    assert windows_of([(1, 10)], [(1, 10)], 10) is None
    assert windows_of([(2, 4)], [(2, 4)], 10) is None
    assert windows_of([(2, 5)], [(2, 6)], 10) is None


def test_an_order_is_read_from_its_bits() -> None:
    bits = [(ORDER >> bit & 1).bool() for bit in range(4)]
    assert torch.equal(order_by_bits(bits), ORDER)
    assert order_by_bits([bits[0], bits[1], bits[2], ~bits[3]]) is None
    assert Windows(CALLS).in_order(torch.arange(10)).order is None


def gaps(explainer: Explainer, layer: Layer) -> dict[str, float]:
    """The largest difference of a cell from plain autograd, over the target's total."""
    assert layer.mode == "split"
    everyone, found = torch.arange(len(layer.hidden)), {}
    with prepared(layer.module):
        work = Workspace(alone(layer), (Selection(everyone, everyone),))
        for baseline in ("itb", "zero"):
            players = players_of(work, ask(att_baseline=baseline, mlp_baseline="matched"))
            start = from_names.layer_baseline(baseline).start(layer.hidden, everyone)
            pairs = {
                "z2u": (z2u_from(work, from_names.layer_baseline(baseline)), autograd.z2u(layer, start)),
                "z2z": (z2z_from(work, from_names.layer_baseline(baseline)), autograd.z2z(layer, start)),
                "u2z": (u2z_map(work.batch, players), autograd.u2z(layer, players)),
            }
            for route, both in pairs.items():
                ours, theirs = (
                    attribute(one, everyone[::5], L2(), Fixed("gauss-legendre:3")) for one in both
                )
                gap = (ours.value - theirs.value).abs().amax(-1) / theirs.scale
                found[f"{route} {baseline}"] = float(gap.max())
    return found


def pixels() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {"pixel_values": torch.randn(1, 3, 16, 16, generator=generator, dtype=torch.float64)}


@pytest.mark.usefixtures("no_shape_checks")
def test_windows_of_patches_are_explained_as_autograd_does() -> None:
    explainer = Explainer(build(SAM, torch.float64))
    layers = explainer.prepared.record(pixels())
    assert [layer.findings.windows and layer.findings.windows.calls for layer in layers] == [
        ((4, 4),),
        ((4, 4),),
        None,
    ]
    assert layers[0].findings.windows.order[:8].tolist() == [0, 1, 4, 5, 2, 3, 6, 7]
    for layer in layers:
        assert layer.hidden.shape == (16, 32)
        assert max(gaps(explainer, layer).values()) < 1e-9, layer.index
    flow = explainer.explain(pixels(), layers=0, targets=[0])
    outside = [token for token in range(16) if token not in (0, 1, 4, 5)]
    assert flow.z2z[0, 0, outside].abs().max() == 0
    assert not flow.unmet


@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.parametrize(
    "version", ["Swin", "Swinv2"]
)  # on the interface, and off it with a scale for each head
def test_shifted_windows_of_two_stages_are_explained_as_autograd_does(version: str) -> None:
    explainer = Explainer(build(Architecture(f"{version}Model", SWIN), torch.float64))
    layers = explainer.prepared.record(pixels())
    assert [len(layer.hidden) for layer in layers] == [16, 16, 4, 4]
    assert layers[1].findings.windows.order[:4].tolist() == [5, 6, 9, 10]  # shifted by one, and masked
    for layer in layers:
        assert max(gaps(explainer, layer).values()) < 1e-9, layer.index
    flow = explainer.explain(pixels(), layers=1, targets=[0], layer_baseline="mean")
    assert (flow.z2z[0, 0].abs() > 1e-30).nonzero().flatten().tolist() == [0]
    with pytest.raises(UnsupportedModel, match=r"different numbers of tokens .*layers=\[0, 1\]"):
        explainer.explain(pixels())


def test_a_stage_of_one_layer_is_not_taken_for_a_layer() -> None:
    """The last stage of a Swin keeps the shape of its hidden states, as layers do."""
    model = build(Architecture("SwinModel", SWIN | {"depths": [2, 1]}), torch.float64)
    layers = Explainer(model).prepared.record(pixels())
    assert [layer.name for layer in layers] == [f"encoder.layers.{name}" for name in (
        "0.blocks.0", "0.blocks.1", "1.blocks.0"
    )]  # fmt: skip


@pytest.mark.usefixtures("no_shape_checks")
def test_windows_whose_position_bias_moves_are_explained() -> None:
    """SAM adds products of queries with relative positions to its scores, window by window."""
    config = {
        "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "mlp_dim": 48, "image_size": 16,
        "patch_size": 4, "window_size": 2, "global_attn_indexes": [1], "output_channels": 8,
    }  # fmt: skip
    explainer = Explainer(build(Architecture("SamVisionModel", config), torch.float64))
    first, second = explainer.prepared.record(pixels())
    for layer in (first, second):
        assert (layer.mode, bool(layer.findings.windows)) == ("coupled", layer is first)
        assert layer.findings.reason == "its mask or position bias depends on the hidden states"
        with prepared(layer.module, layer.implementation):
            others = torch.stack([-layer.hidden, layer.hidden.flip(0), layer.hidden.roll(3, 1)])
            whole = layer.forward(others)
            torch.testing.assert_close(layer.finish(others, layer.attend(others)), whole, rtol=0, atol=1e-12)
    flow = explainer.explain(pixels(), targets=[0])
    outside = [token for token in range(16) if token not in (0, 1, 4, 5)]
    for route in (flow.z2z, flow.z2u.abs().amax(1)):
        assert route[0, 0, outside].abs().max() == 0
        assert route[1, 0, outside].abs().min() > 0
    assert not flow.unmet


LW_DETR = Architecture(
    "LwDetrViTBackbone",
    {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "mlp_ratio": 2, "image_size": 16,
     "pretrain_image_size": 16, "patch_size": 4, "num_windows": 4, "window_block_indices": [0, 2],
     "out_indices": [3]},
)  # fmt: skip
FILM = {
    "image_size": 8, "num_frames": 3, "tubelet_size": [1, 4, 4], "hidden_size": 32, "num_attention_heads": 4,
    "intermediate_size": 48, "num_spatial_layers": 2, "num_temporal_layers": 2,
}  # fmt: skip


@pytest.mark.usefixtures("no_shape_checks")
def test_tiles_that_count_as_examples_are_one_image() -> None:
    explainer = Explainer(build(LW_DETR, torch.float64))
    layers = explainer.prepared.record(pixels())
    assert [layer.findings.windows and layer.findings.windows.calls for layer in layers] == [
        ((4, 4),),
        None,
        ((4, 4),),
    ]
    for layer in layers:
        assert (layer.hidden.shape, layer.layout.parts, layer.findings.one_by_one) == ((16, 32), 4, False)
        assert max(gaps(explainer, layer).values()) < 1e-9, layer.index
    flow = explainer.explain(pixels())
    assert (flow.tokens[0], flow.tokens[5], flow.tokens[15]) == ("0:0", "1:1", "3:3")
    assert not flow.unmet
    assert flow.z2z[0, 0, 4:].abs().max() == 0
    assert flow.z2z[1, 0, 4:].abs().min() > 0
    with pytest.raises(LigflowError, match="explain takes one example at a time, and the layers see 8"):
        explainer.explain({"pixel_values": torch.cat([pixels()["pixel_values"]] * 2)})


@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.parametrize(("stack", "calls"), [("spatial_layers", (3, 4)), ("temporal_layers", (4, 3))])
def test_frames_of_a_film_see_each_other_where_the_model_lets_them(
    stack: str, calls: tuple[int, int]
) -> None:
    explainer = Explainer(build(Architecture("VideoPrismVisionModel", FILM), torch.float64), stack=stack)
    inputs = {"pixel_values_videos": torch.randn(1, 3, 3, 8, 8, dtype=torch.float64)}
    for layer in explainer.prepared.record(inputs):
        assert layer.findings.windows.calls == (calls,)
        assert max(gaps(explainer, layer).values()) < 1e-9, layer.index
    with pytest.raises(LigflowError, match="explain takes one example at a time"):
        explainer.explain({"pixel_values_videos": torch.randn(2, 3, 3, 8, 8, dtype=torch.float64)})


@pytest.mark.usefixtures("no_shape_checks")
def test_frames_that_meet_in_a_message_are_one_example() -> None:
    """X-CLIP's frames come in the axis of examples; its layers attend within them and between them."""
    small = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = small | {"image_size": 8, "patch_size": 4, "num_frames": 3}
    explainer = Explainer(build(Architecture("XCLIPVisionModel", config)))
    flow = explainer.explain({"pixel_values": torch.randn(3, 3, 8, 8)}, routes=("z2z",))
    assert (flow.tokens[0], flow.tokens[-1], flow.unmet) == ("0:0", "2:4", [])
    others = flow.z2z[1, 0, 5:].reshape(2, 5)
    assert others[:, 0].abs().min() > 0 == others[:, 1:].abs().max()  # the message is of class tokens
