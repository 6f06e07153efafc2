"""Tokens of an image: which square of it each one is."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ligflow.inputs.tokens import Tokens


@dataclass(frozen=True)
class Patches:
    """A grid of patches, row by row; token `first` is the upper left one, those before it are no patches."""

    rows: int
    columns: int
    first: int

    @property
    def count(self) -> int:
        """How many patches there are."""
        return self.rows * self.columns


def patches_of(config: Any, inputs: Mapping[str, Tensor], count: int) -> Patches | None:
    """The grid behind `count` tokens of one image; None where that is not known.

    It is known where the image is cut into squares of the config's `patch_size`, and all that stands before
    them are a class token and the config's registers; not where the model shuffles them (`mask_ratio`).
    """
    pixels, size = inputs.get("pixel_values"), _patch_size(config)
    if getattr(config, "mask_ratio", None) is not None:
        return None
    if pixels is None or pixels.ndim != 4 or len(pixels) != 1 or size is None:
        return None
    rows, columns = pixels.shape[2] // size[0], pixels.shape[3] // size[1]
    more = count - rows * columns
    known = (0, 1, 1 + int(getattr(config, "num_register_tokens", 0) or 0))
    return Patches(rows, columns, more) if rows * columns and more in known else None


def name_patches(patches: Patches, count: int) -> Tokens:
    """`r0c0` is the upper left patch; what stands before the patches is special."""
    before = ["[CLS]", *(f"[R{number}]" for number in range(1, patches.first))][: patches.first]
    places = [f"r{n // patches.columns}c{n % patches.columns}" for n in range(patches.count)]
    special = (True,) * patches.first + (False,) * patches.count
    return Tokens((*before, *places)[:count], special, layout={"patches": vars(patches)})


def _patch_size(config: Any) -> tuple[int, int] | None:
    size = getattr(getattr(config, "vision_config", None) or config, "patch_size", None)
    if isinstance(size, int):
        return size, size
    return (size[0], size[1]) if isinstance(size, list | tuple) and len(size) == 2 else None
