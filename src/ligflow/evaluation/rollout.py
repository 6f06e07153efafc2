"""Maps of layers as one map from the first layer's input to the last one's output.

    A' = (A + 1) / 2     the residual stream beside attention, as half of each row
    rollout = A'_L ... A'_2 A'_1

Abnar and Zuidema 2020 [abnar2020]; any maps whose rows are shares may stand for A.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def with_residual(maps: Float[Tensor, "*layer token token"]) -> Float[Tensor, "*layer token token"]:
    """Maps with the residual stream as half of each row, `(A + 1) / 2` [abnar2020]."""
    return (maps + torch.eye(maps.shape[-1], dtype=maps.dtype, device=maps.device)) / 2


def rollout(maps: Float[Tensor, "layer token token"]) -> Float[Tensor, "token token"]:
    """The product of the layers' maps `[target, source]`, the first layer's on the right [abnar2020].

    With rows that are shares, rows of the product are shares.
    """
    product, *later = maps
    for of_layer in later:
        product = of_layer @ product
    return product
