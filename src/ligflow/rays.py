"""Projections that have a closed form along a straight path.

A query, key or value of a token is here `X = O + N/|ψ|`: N and ψ are linear in the token's vector, O is
constant. So on a straight path from one token vector to another, `X(a) = O + N(a)/|ψ(a)|` with N and ψ
the straight lines between their ends, and `|ψ(a)|²` a quadratic in a.

| projection | ψ |
|---|---|
| affine | none, `|ψ| = 1` |
| RMSNorm, then affine | `(z/√D, √eps)` |
| LayerNorm, then affine | the same of z less its mean |
| affine, then a norm over n numbers | `(y/√n, √eps)` of its input y |
| both | `(y|ψ_1|/√n, √eps ψ_1)`, ψ_1 that of the first norm |
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

_SPREAD = 16  # positions that are looked at to find which entries a rotation pairs
_FIT = 1e-4


@dataclass(frozen=True, eq=False)
class Ray:
    """`X = offset + numerator / |feature|` of tokens; no feature stands for `|ψ| = 1`, no offset for 0."""

    numerator: Float[Tensor, "*batch group token dim"]
    feature: Float[Tensor, "*batch #group token feature"] | None = None
    offset: Float[Tensor, "*#batch group token dim"] | None = None


def of_each(ray: Ray, change: Callable[[Tensor], Tensor]) -> Ray:
    """The ray with every part changed."""
    feature = None if ray.feature is None else change(ray.feature)
    return Ray(change(ray.numerator), feature, None if ray.offset is None else change(ray.offset))


def along(
    first: Ray, last: Ray, nodes: Float[Tensor, " node"]
) -> tuple[Float[Tensor, "node *batch group token dim"], Float[Tensor, "node *batch group token dim"]]:
    """`X(a)` and `dX/da` of every token on the straight path from `first` to `last`."""
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
    """`1/|ψ(a)|` and its derivative, from the inner products of ψ at both ends."""
    b = 1 - a  # no difference of squares: at its ends the path forgets a far larger other end
    square = b * (b * start + 2 * a * cross) + a * a * end
    rounding = torch.finfo(
        square.dtype
    ).eps  # of the terms as they are at a: a start near 0 is far below `end`
    least = rounding**2 * (b * b * start + a * a * end) + torch.finfo(square.dtype).tiny
    inverse = torch.maximum(square, least).rsqrt()
    return inverse, -(a * (end - cross) + b * (cross - start)) * inverse**3


# --- positions ------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Turn:
    """What a position does to a key, relative to position 0: `X_d = cos_d y_d + sin_d y_partner(d)`."""

    cos: Float[Tensor, "token dim"]
    sin: Float[Tensor, "token dim"]
    partner: Int[Tensor, " dim"]

    def back(self, keys: Float[Tensor, "*batch token dim"]) -> Float[Tensor, "*batch token dim"]:
        """The keys as they would be at position 0."""
        other = self.partner
        size = self.cos * self.cos[:, other] - self.sin * self.sin[:, other]
        return (self.cos[:, other] * keys - self.sin * keys[..., other]) / size


def fit_turn(placed: Float[Tensor, "sample token dim"]) -> Turn | None:
    """The turn that explains how samples (the same vector at every position) change with position.

    None where no such turn explains them. `partner` is found as the entry that explains best what an
    entry's own value at position 0 leaves over, so that any layout of a rotary embedding will do.
    """
    placed = placed.double()
    base = placed[:, 0]
    partner = _partners(placed, base)
    other = base[:, partner]
    own2, cross, other2 = (base * base).sum(0), (base * other).sum(0), (other * other).sum(0)
    to_own = torch.einsum("std,sd->td", placed, base)
    to_other = torch.einsum("std,sd->td", placed, other)
    size = own2 * other2 - cross * cross
    cos, sin = (to_own * other2 - to_other * cross) / size, (to_other * own2 - to_own * cross) / size
    found = cos * base[:, None] + sin * other[:, None]
    fits = (found - placed).abs().max() <= _FIT * placed.abs().max()
    return Turn(cos, sin, partner) if bool(fits) else None


def _partners(
    placed: Float[Tensor, "sample token dim"], base: Float[Tensor, "sample dim"]
) -> Int[Tensor, " dim"]:
    tokens = placed.shape[1]
    spread = torch.linspace(0, tokens - 1, min(tokens, _SPREAD), dtype=torch.float32, device=base.device)
    some = spread.round().long()
    own = base / base.norm(dim=0)
    seen = placed[:, some]
    left = seen - torch.einsum("std,sd->td", seen, own) * own[:, None]  # what the entry itself leaves over
    # of a candidate e only what is orthogonal to the entry d can explain it
    overlap = own.T @ base
    explained = torch.einsum("std,se->tde", left, base).square().sum(0)
    explained = explained / (base.square().sum(0) - overlap.square()).clamp(min=1e-12)
    return explained.fill_diagonal_(-1).argmax(dim=1)
