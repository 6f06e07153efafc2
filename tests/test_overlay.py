"""Tokens of images and recordings by their places, and maps laid over the image."""

from pathlib import Path

import numpy as np
import pytest
import torch

from architectures import ARCHITECTURES, Architecture, build, example
from ligflow import Explainer, Flow, LigflowError
from ligflow.frames import seconds_of
from ligflow.patches import Patches, patches_of
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
    before, after = (explainer.record({"pixel_values": one})[0].hidden for one in (picture(), changed))
    moved = (before - after).abs().amax(-1).nonzero()[:, 0].tolist()
    labels = explainer.explain({"pixel_values": picture()}, routes=("z2z",)).tokens
    assert [labels[place] for place in moved] == ["r1c2"]


def test_a_grid_that_is_not_known_is_not_guessed() -> None:
    config = build(TOWERS["vit"][0]).config
    assert patches_of(config, {"pixel_values": picture()}, 9 + 1) == Patches(3, 3, 1)
    assert patches_of(config, {"pixel_values": picture()}, 9 + 2) is None
    assert patches_of(config, {"pixel_values": picture()[0]}, 9) is None


def test_frames_are_named_by_their_time() -> None:
    flow = Explainer(build(ARCHITECTURES["whisper"])).explain(
        example(ARCHITECTURES["whisper"]), routes=("z2z",)
    )
    assert flow.tokens == [f"{0.02 * n:.2f}s" for n in range(9)]  # 18 columns of 10 ms, two a frame
    assert any("frames of 20 ms" in note for note in flow.meta["notes"])
    assert seconds_of({"input_values": torch.zeros(1, 32_000)}) == 2.0


def test_the_overlay_shows_the_row_of_its_target(flow: Flow) -> None:
    figure = flow.overlay(picture()[0].permute(1, 2, 0), target=5, layer=1)
    grey, laid = figure.axes[0].images
    shares = row_shares(flow.z2z[1])[5, 1:]
    np.testing.assert_allclose(laid.get_array(), shares.reshape(3, 3).numpy(), rtol=1e-6)
    assert list(laid.get_extent()) == list(grey.get_extent()) == [0, 12, 12, 0]
    assert [one.get_xy() for one in figure.axes[0].patches] == [(4.0, 4.0)] * 2  # token 5 is patch r1c1
    assert f"[CLS] {100 * float(row_shares(flow.z2z[1])[5, 0]):+.0f}%" in figure.axes[0].get_title()


def test_without_special_tokens_the_patches_stay_in_place(flow: Flow) -> None:
    hidden = flow.hide_special()
    assert hidden.meta["patches"]["first"] == 0
    laid = hidden.overlay(np.zeros((12, 12)), target=4).axes[0].images[1]
    np.testing.assert_allclose(laid.get_array(), row_shares(flow.z2z[-1][:, 1:])[5].reshape(3, 3), rtol=1e-5)


def test_an_overlay_is_saved(flow: Flow, tmp_path: Path) -> None:
    flow.overlay(np.zeros((12, 12, 3), dtype=np.uint8), path=tmp_path / "overlay.png")
    assert (tmp_path / "overlay.png").read_bytes()[:4] == b"\x89PNG"


def test_bad_overlays_are_refused(flow: Flow, tmp_path: Path) -> None:
    with pytest.raises(LigflowError, match=r"shape \(12,\)"):
        flow.overlay(np.zeros(12))
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
