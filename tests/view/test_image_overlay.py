"""Tokens of images and recordings by their places, and maps laid over the image."""

from pathlib import Path

import numpy as np
import pytest
import torch

from architectures import ARCHITECTURES, Architecture, build, example
from ligflow import Explainer, Flow, LigflowError
from ligflow.inputs.frames import seconds_of
from ligflow.inputs.patches import Patches, patches_of
from ligflow.view.select import row_shares

_VISION = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48,
           "image_size": 12, "patch_size": 4}  # fmt: skip
TOWERS = {
    "vit": (Architecture("ViTModel", _VISION), 1),
    "clip": (Architecture("CLIPVisionModel", _VISION), 1),
    "siglip": (Architecture("SiglipVisionModel", _VISION), 0),
    "registers": (Architecture("Dinov2WithRegistersModel", _VISION | {"num_register_tokens": 2}), 3),
}


def picture(size: int = 12) -> torch.Tensor:
    return torch.linspace(-1, 1, 3 * size * size).reshape(1, 3, size, size)


@pytest.fixture(scope="module")
def flow() -> Flow:
    return Explainer(build(TOWERS["vit"][0])).explain({"pixel_values": picture()})


@pytest.mark.parametrize("name", list(TOWERS))
def test_patches_are_named_by_their_place(name: str) -> None:
    architecture, before = TOWERS[name]
    found = Explainer(build(architecture)).explain({"pixel_values": picture()}, routes=("z2z",))
    assert found.tokens[before:] == [f"r{row}c{column}" for row in range(3) for column in range(3)]
    assert found.special == (True,) * before + (False,) * 9
    assert found.meta["patches"] == {"rows": 3, "columns": 3, "first": before}
    assert found.tokens[:before] == ["[CLS]", "[R1]", "[R2]"][:before]


@pytest.mark.parametrize("name", list(TOWERS))
def test_a_patch_is_the_token_that_its_pixels_change(name: str) -> None:
    """Row 1, column 2 of the image is the token that is called so."""
    architecture, _ = TOWERS[name]
    explainer, changed = Explainer(build(architecture)), picture()
    changed[:, :, 4:8, 8:12] += 1
    before, after = (
        explainer.prepared.record({"pixel_values": one})[0].hidden for one in (picture(), changed)
    )
    moved = (before - after).abs().amax(-1).nonzero()[:, 0].tolist()
    labels = explainer.explain({"pixel_values": picture()}, routes=("z2z",)).tokens
    assert [labels[place] for place in moved] == ["r1c2"]


def test_a_grid_that_is_not_known_is_not_guessed() -> None:
    config = build(TOWERS["vit"][0]).config
    assert patches_of(config, {"pixel_values": picture()}, 9 + 1) == Patches(3, 3, 1)
    assert patches_of(config, {"pixel_values": picture()}, 9 + 2) is None
    assert patches_of(config, {"pixel_values": picture()[0]}, 9) is None
    config.mask_ratio = 0.0  # ViT-MAE shuffles its patches, also where it leaves none out
    assert patches_of(config, {"pixel_values": picture()}, 9 + 1) is None


@pytest.mark.parametrize(("stack", "first"), [("text_model", "#5"), ("vision_model", "[CLS]")])
def test_a_tower_of_two_has_its_own_tokens(stack: str, first: str) -> None:
    """A text as long as the image has patches, with padding that is none of the image's."""
    text = {name: one for name, one in _VISION.items() if name not in ("image_size", "patch_size")}
    vocabulary = {"vocab_size": 64, "max_position_embeddings": 16, "eos_token_id": 2}
    both = {"text_config": text | vocabulary, "vision_config": _VISION, "projection_dim": 8}
    ids = torch.tensor([[5, 6, 7, 8, 9, 10, 11, 2, 1, 1]])
    inputs = {"input_ids": ids, "attention_mask": (ids != 1).long(), "pixel_values": picture()}
    explainer = Explainer(build(Architecture("CLIPModel", both)), stack=stack)
    flow = explainer.explain(inputs, routes=("z2z",), layers=1)
    assert (len(flow.tokens), flow.tokens[0]) == ((8, first) if stack == "text_model" else (10, first))


def test_frames_are_named_by_their_time() -> None:
    flow = Explainer(build(ARCHITECTURES["whisper"])).explain(
        example(ARCHITECTURES["whisper"]), routes=("z2z",)
    )
    assert flow.tokens == [f"{0.02 * n:.2f}s" for n in range(9)]  # 18 columns of 10 ms, two a frame
    assert any("frames of 20 ms" in note for note in flow.meta["notes"])
    config = build(ARCHITECTURES["whisper"]).config  # 8 features
    assert seconds_of(config, {"input_values": torch.zeros(1, 32_000)}) == 2.0
    assert seconds_of(config, {"input_features": torch.zeros(1, 8, 5)}) == pytest.approx(0.05)
    assert seconds_of(config, {"input_features": torch.zeros(1, 5, 8)}) == pytest.approx(0.05)
    assert seconds_of(config, {"input_features": torch.zeros(1, 100, 80)}) == pytest.approx(1.0)


def test_the_overlay_shows_the_row_of_its_target(flow: Flow) -> None:
    figure = flow.overlay(picture()[0].permute(1, 2, 0), target=5, layer=1, view="z2z")
    grey, laid = figure.axes[0].images
    shares = row_shares(flow.z2z[1])[5, 1:]
    np.testing.assert_allclose(laid.get_array(), shares.reshape(3, 3).numpy(), rtol=1e-6)
    assert list(laid.get_extent()) == list(grey.get_extent()) == [0, 12, 12, 0]
    assert [one.get_xy() for one in figure.axes[0].patches] == [(4.0, 4.0)] * 2  # token 5 is patch r1c1
    assert f"[CLS] {100 * float(row_shares(flow.z2z[1])[5, 0]):+.0f}%" in figure.axes[0].get_title()


def test_without_special_tokens_the_patches_stay_in_place(flow: Flow) -> None:
    hidden = flow.hide_special()
    assert hidden.meta["patches"]["first"] == 0
    laid = hidden.overlay(np.zeros((12, 12)), target=4, view="z2z").axes[0].images[1]
    np.testing.assert_allclose(laid.get_array(), row_shares(flow.z2z[-1][:, 1:])[5].reshape(3, 3), rtol=1e-5)


def test_an_overlay_is_saved(flow: Flow, tmp_path: Path) -> None:
    flow.overlay(np.zeros((12, 12, 3), dtype=np.uint8), path=tmp_path / "overlay.png")
    assert (tmp_path / "overlay.png").read_bytes()[:4] == b"\x89PNG"


def test_bad_overlays_are_refused(flow: Flow, tmp_path: Path) -> None:
    with pytest.raises(LigflowError, match=r"shape \(12,\)"):
        flow.overlay(np.zeros(12))
    for image in (np.zeros((12, 24)), np.zeros((24, 12, 3)), np.zeros((0, 12))):
        with pytest.raises(LigflowError, match="and its patches 3 by 3: pass the image as the model saw it"):
            flow.overlay(image)
    with pytest.raises(LigflowError, match="NaN"):
        flow.overlay(np.full((12, 12), np.nan))
    with pytest.raises(LigflowError, match="z2z has no heads; leave out head=0"):
        flow.overlay(np.zeros((12, 12)), head=0, view="z2z")
    with pytest.raises(LigflowError, match="sources of u2z are heads, not patches"):
        flow.overlay(np.zeros((12, 12)), view="u2z")
    with pytest.raises(LigflowError, match="no target 30"):
        flow.overlay(np.zeros((12, 12)), target=30)
    with pytest.raises(LigflowError, match=r"end it in \.svg"):
        flow.overlay(np.zeros((12, 12)), path=tmp_path / "overlay.txt")
    text = Explainer(build(ARCHITECTURES["bert"])).explain({"input_ids": torch.tensor([[5, 6, 7]])})
    with pytest.raises(LigflowError, match="not known to be patches"):
        text.overlay(np.zeros((12, 12)))


def test_an_image_of_the_wrong_size_is_refused_by_name() -> None:
    with pytest.raises(LigflowError, match=r"could not run on these inputs \(pixel_values\[1, 3, 20, 20\]\)"):
        Explainer(build(TOWERS["vit"][0])).explain({"pixel_values": picture(20)})
