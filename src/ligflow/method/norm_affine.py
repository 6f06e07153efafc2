"""Projections that have a closed form along a straight path.

A query, key or value of a token is here `X = O + N/|ψ|`: N and ψ are linear in the token's vector, O is
constant. So on a straight path from one token vector to another, `X(a) = O + N(a)/|ψ(a)|` with N and ψ
the straight lines between their ends, and `|ψ(a)|²` a quadratic in a.

| projection | ψ |
|---|---|
| affine | none, `|ψ| = 1` |
| RMSNorm [zhang2019], then affine | `(z/√D, √eps)` |
| LayerNorm [ba2016], then affine | the same of z less its mean |
| affine, then a norm over n numbers | `(y/√n, √eps)` of its input y |
| both | `(y|ψ_1|/√n, √eps ψ_1)`, ψ_1 that of the first norm |
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

SPREAD = 16  # positions that are looked at to find which entries a rotation pairs


@dataclass(frozen=True, eq=False)
class NormAffine:
    """`X = offset + numerator / |feature|` of tokens; no feature stands for `|ψ| = 1`, no offset for 0."""

    numerator: Float[Tensor, "*batch group token dim"]
    feature: Float[Tensor, "*batch #group token feature"] | None = None
    offset: Float[Tensor, "*#batch group token dim"] | None = None


def of_each(ray: NormAffine, change: Callable[[Tensor], Tensor]) -> NormAffine:
    """The ray with every part changed."""
    feature = None if ray.feature is None else change(ray.feature)
    return NormAffine(change(ray.numerator), feature, None if ray.offset is None else change(ray.offset))


def on_path(
    first: NormAffine, last: NormAffine, nodes: Float[Tensor, " node"]
) -> tuple[Float[Tensor, "node *batch group token dim"], Float[Tensor, "node *batch group token dim"]]:
    """`X(a) = O + N(a)/|ψ(a)|` and `dX/da` of every token on the straight path from `first` to `last`."""
    a = nodes.reshape(-1, *(1,) * last.numerator.ndim)
    step = last.numerator - first.numerator
    value, slope = first.numerator + a * step, step.expand(len(nodes), *step.shape)
    if first.feature is not None and last.feature is not None:
        inverse, change = inverse_norm(
            (first.feature * first.feature).sum(-1),
            (first.feature * last.feature).sum(-1),
            (last.feature * last.feature).sum(-1),
            a[..., 0],
        )
        slope = slope * inverse[..., None] + value * change[..., None]
        value = value * inverse[..., None]
    return value if last.offset is None else value + last.offset, slope


def inverse_norm(
    start: Tensor, cross: Tensor, end: Tensor, a: Tensor
) -> tuple[Float[Tensor, "*shape"], Float[Tensor, "*shape"]]:
    """`1/|ψ(a)|` and its derivative `-<ψ, ψ'>/|ψ|^3`, from the inner products of ψ at both ends."""
    b = 1 - a  # no difference of squares: at its ends the path forgets a far larger other end
    square = b * (b * start + 2 * a * cross) + a * a * end
    rounding = torch.finfo(
        square.dtype
    ).eps  # of the terms as they are at a: a start near 0 is far below `end`
    least = rounding**2 * (b * b * start + a * a * end) + torch.finfo(square.dtype).tiny
    inverse = torch.maximum(square, least).rsqrt()
    return inverse, -(a * (end - cross) + b * (cross - start)) * inverse**3


# --- positions ------------------------------------------------------------------------------------
