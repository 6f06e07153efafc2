"""How far apart two runs of a layer are, and how far rounding may take them."""

import torch
from torch import Tensor


def gap(ours: Tensor, theirs: Tensor) -> float:
    """`|ours - theirs| / |theirs|`."""
    return float((ours - theirs).norm() / theirs.norm().clamp(min=1e-30))


def tolerance(tensor: Tensor) -> float:
    """The gap that passes for rounding through a layer: 1e-9 in float64, else 1e-3."""
    return 1e-9 if tensor.dtype == torch.float64 else 1e-3
