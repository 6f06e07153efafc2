"""How far apart two runs of a layer are, and how far rounding may take them."""

import torch
from jaxtyping import Float
from torch import Tensor


def gap(ours: Tensor, theirs: Tensor) -> float:
    """`|ours - theirs| / |theirs|`."""
    return float((ours - theirs).norm() / theirs.norm().clamp(min=1e-30))


def tolerance(tensor: Tensor) -> float:
    """The gap between two ways to compute attention that passes: 1e-9 in float64, else 1e-3."""
    return 1e-9 if tensor.dtype == torch.float64 else 1e-3


def rounding(tensor: Tensor) -> float:
    """The part of a token's size that rounding through a layer may change: 1e-11 in float64, else 1e-5."""
    return 1e-11 if tensor.dtype == torch.float64 else 1e-5


def max_token_error(
    ours: Float[Tensor, "*batch token dim"], theirs: Float[Tensor, "*batch token dim"]
) -> float:
    """The largest `|ours - theirs| / |theirs|` of a token; NaN if one is.

    Token by token, since a few may be a thousand times larger than the others.
    """
    return float(((ours - theirs).norm(dim=-1) / _sizes(theirs)).max())


def error_over_allowance(
    ours: Float[Tensor, "token dim"], theirs: Float[Tensor, "token dim"], still: Float[Tensor, "token dim"]
) -> float:
    """How far ours is off by what may be off: above 1 it is more than rounding.

    The maps say what moves a token, and that may be a small part of it. So the difference is measured by what
    attention does to the token, its distance from `still`, beside the rounding of the token itself.
    """
    may = tolerance(theirs) * (theirs - still).norm(dim=-1) + rounding(theirs) * _sizes(theirs)
    return float(((ours - theirs).norm(dim=-1) / may).max())


def _sizes(vectors: Float[Tensor, "*batch token dim"]) -> Float[Tensor, "*batch token"]:
    """The tokens' norms; none is taken for less than a hundredth of the middle one."""
    norms = vectors.norm(dim=-1)
    return norms.clamp(min=max(float(norms.median()) / 100, 1e-30))
