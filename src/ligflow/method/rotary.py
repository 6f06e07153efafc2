"""A rotary position embedding [su2021], fitted to probes."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ligflow.method.norm_affine import SPREAD

_FIT = 1e-4


@dataclass(frozen=True, eq=False)
class Rotation:
    """What a position does to a key, relative to position 0: `X_d = cos_d y_d + sin_d y_partner(d)`."""

    cos: Float[Tensor, "token dim"]
    sin: Float[Tensor, "token dim"]
    partner: Int[Tensor, " dim"]

    def back(self, keys: Float[Tensor, "*batch token dim"]) -> Float[Tensor, "*batch token dim"]:
        """The keys as they would be at position 0."""
        other = self.partner
        size = self.cos * self.cos[:, other] - self.sin * self.sin[:, other]
        return (self.cos[:, other] * keys - self.sin * keys[..., other]) / size


def fit_rotation(placed: Float[Tensor, "sample token dim"]) -> Rotation | None:
    """The turn that explains how samples (the same vector at every position) change with position.

    Least squares over the samples, entry by entry: `X_t,d ~ cos_t,d X_0,d + sin_t,d X_0,partner(d)`.
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
    return Rotation(cos, sin, partner) if bool(fits) else None


def _partners(
    placed: Float[Tensor, "sample token dim"], base: Float[Tensor, "sample dim"]
) -> Int[Tensor, " dim"]:
    tokens = placed.shape[1]
    spread = torch.linspace(0, tokens - 1, min(tokens, SPREAD), dtype=torch.float32, device=base.device)
    some = spread.round().long()
    own = base / base.norm(dim=0)
    seen = placed[:, some]
    left = seen - torch.einsum("std,sd->td", seen, own) * own[:, None]  # what the entry itself leaves over
    # of a candidate e only what is orthogonal to the entry d can explain it
    overlap = own.T @ base
    explained = torch.einsum("std,se->tde", left, base).square().sum(0)
    explained = explained / (base.square().sum(0) - overlap.square()).clamp(min=1e-12)
    return explained.fill_diagonal_(-1).argmax(dim=1)
