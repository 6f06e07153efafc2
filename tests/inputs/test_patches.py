"""Which square of an image a token is."""

from types import SimpleNamespace

import torch

from ligflow.inputs.patches import Patches, name_patches, patches_of

PIXELS = {"pixel_values": torch.zeros(1, 3, 8, 12)}


def test_the_grid_of_an_image() -> None:
    assert patches_of(SimpleNamespace(patch_size=4), PIXELS, 6) == Patches(2, 3, 0)
    assert patches_of(SimpleNamespace(patch_size=[4, 6]), PIXELS, 5) == Patches(2, 2, 1)
    assert patches_of(SimpleNamespace(patch_size=4, num_register_tokens=4), PIXELS, 11) == Patches(2, 3, 5)
    assert patches_of(SimpleNamespace(vision_config=SimpleNamespace(patch_size=2)), PIXELS, 25) == Patches(
        4, 6, 1
    )


def test_no_grid_where_it_is_not_known() -> None:
    assert patches_of(SimpleNamespace(patch_size=4), PIXELS, 8) is None
    assert patches_of(SimpleNamespace(patch_size=4, mask_ratio=0.75), PIXELS, 6) is None
    assert patches_of(SimpleNamespace(), PIXELS, 6) is None
    assert patches_of(SimpleNamespace(patch_size=4), {"input_ids": torch.zeros(1, 6)}, 6) is None


def test_patches_are_named_row_by_row() -> None:
    tokens = name_patches(Patches(1, 2, 3), 5)
    assert tokens.labels == ("[CLS]", "[R1]", "[R2]", "r0c0", "r0c1")
    assert tokens.special == (True, True, True, False, False)
    assert tokens.layout == {"patches": {"rows": 1, "columns": 2, "first": 3}}
