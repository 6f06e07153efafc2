"""Random dictionaries in float64, and what their features contribute by hand."""

from typing import Any

import torch
from torch import Tensor

from ligflow.dictionaries.dictionary import Dictionary
from ligflow.dictionaries.of_tensors import dictionary_of


def tensors(width: int, output: int | None = None, features: int = 40, seed: int = 0) -> dict[str, Tensor]:
    """An encoder and a decoder with biases."""
    generator = torch.Generator().manual_seed(seed)

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    output = width if output is None else output
    return {
        "W_enc": noise(width, features) / width**0.5, "b_enc": noise(features) / 4,
        "W_dec": noise(features, output) / width**0.5, "b_dec": noise(output) / 4,
    }  # fmt: skip


def dictionary(width: int, hook: str, source: str | None = None, **options: Any) -> Dictionary:
    """A random one of a place."""
    return dictionary_of(tensors(width), hook, source, **options)


def by_hand(own: dict[str, Tensor], m: Tensor, real: Tensor, reference: Tensor) -> dict[str, Tensor]:
    """`(m . d_f) Δa_f` of a standard autoencoder, dense, and the rest `m . Δε`."""
    ends = [((h - own["b_dec"]) @ own["W_enc"] + own["b_enc"]).relu() for h in (real, reference)]
    left = [h - a @ own["W_dec"] - own["b_dec"] for h, a in zip((real, reference), ends, strict=True)]
    return {
        "features": (m @ own["W_dec"].T) * (ends[0] - ends[1]),
        "rest": (m * (left[0] - left[1])).sum(-1),
    }
