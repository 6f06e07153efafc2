"""Whether a map has the signs and the amounts of what removal does. Rows are targets, columns sources.

A positive contribution moved the target the way that it went, a negative one held it back: without the first
it goes less far that way, without the second further. `g({k})` is how much less (see `games`).

| measure | what | better |
|---|---|---|
| `signs` | share of the sources whose contribution has the sign of `g({k})` | high |
| `signs_weighted` | the same, each source counted by the size of `g({k})` | high |
| `negatives` | of the sources with a negative contribution, the share with a negative `g({k})` | high |
| `amounts_alone` | cosine of the contributions and `g({k})` | high |
| `amounts_shapley` | cosine of the contributions and the Shapley values of g | high |

The square of the cosine is R^2 of the best multiple: 1 where contributions are the amounts in whichever unit.
Most effects are positive, so that a map that is positive everywhere belongs beside every share.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

MEASURES = ("signs", "signs_weighted", "negatives", "amounts_alone", "amounts_shapley")


def signs(
    maps: Float[Tensor, "method target source"],
    lost: Float[Tensor, "target source"],
    players: Bool[Tensor, "target source"],
) -> dict[str, Float[Tensor, "method target"]]:
    """`signs`, `signs_weighted` and `negatives` of maps beside what is lost; NaN where nothing counts.

    Sources without any effect, or without any contribution, have no sign and do not count.
    """
    counted = players & (lost != 0) & (maps != 0)
    agree = counted & (maps.sign() == lost.sign())
    size, below = lost.abs(), counted & (maps < 0)
    return {
        "signs": _share(agree, counted),
        "signs_weighted": _share(agree * size, counted * size),
        "negatives": _share(agree & below, below),
    }


def amounts(
    maps: Float[Tensor, "method target source"],
    lost: Float[Tensor, "target source"],
    players: Bool[Tensor, "target source"],
) -> Float[Tensor, "method target"]:
    """`<c, g> / (||c|| ||g||)` over the players; NaN where either is 0 everywhere."""
    c, g = (row.double().masked_fill(~players, 0.0) for row in (maps, lost))
    return _ratio((c * g).sum(dim=-1), c.norm(dim=-1) * g.norm(dim=-1))


def _share(some: Tensor, every: Tensor) -> Float[Tensor, "method target"]:
    return _ratio(some.sum(dim=-1).double(), every.sum(dim=-1).double())


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    return torch.where(whole == 0, torch.nan, part / torch.where(whole == 0, 1, whole))
