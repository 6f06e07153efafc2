"""Activations that a dictionary normalises token by token before it encodes them."""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

Scaling = Literal["none", "norm", "layer"]
SCALINGS = get_args(Scaling)
_EPS = 1e-5


@dataclass(frozen=True, eq=False)
class Scaled:
    """Vectors as the encoder takes them, and what the decoder's output is multiplied by and moved by."""

    vectors: Float[Tensor, "token dim"]
    scale: Float[Tensor, "token 1"]
    shift: Float[Tensor, "token 1"]


def scaled(vectors: Float[Tensor, "token dim"], scaling: Scaling | str) -> Scaled:
    """Vectors normalised: `none`; `norm`, to the length √dim; `layer`, to mean 0 and deviation 1."""
    ones = torch.ones_like(vectors[:, :1])
    if scaling == "norm":
        scale = vectors.norm(dim=-1, keepdim=True) / vectors.shape[-1] ** 0.5
        return Scaled(vectors / scale, scale, 0 * ones)
    if scaling == "layer":
        mean = vectors.mean(-1, keepdim=True)
        deviation = vectors.std(-1, keepdim=True)
        return Scaled((vectors - mean) / (deviation + _EPS), deviation, mean)
    return Scaled(vectors, ones, 0 * ones)
