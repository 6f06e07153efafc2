"""Where along paths a discrete choice changes: looked at in some points, then closed in on.

A choice that comes and goes between two points that are looked at is not seen.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

_PARTS = 16  # a stretch in which the choice changes is cut into so many, again and again

Choose = Callable[
    [Int[Tensor, " stretch"], Float[Tensor, "stretch edge"]], Int[Tensor, "stretch edge choice"]
]


def stretches_of_change(
    points: Float[Tensor, " point"], chosen: Int[Tensor, "place point choice"]
) -> tuple[Int[Tensor, " stretch"], Float[Tensor, "stretch 2"]]:
    """The stretches between neighbouring points in which the choice of a place changes, and these places."""
    places, at = (chosen[:, 1:] != chosen[:, :-1]).any(-1).nonzero(as_tuple=True)
    return places, torch.stack([points[at], points[at + 1]], dim=-1)


def narrowed(
    choose: Choose, places: Int[Tensor, " stretch"], stretches: Float[Tensor, "stretch 2"], rounds: int
) -> tuple[Int[Tensor, " narrow"], Float[Tensor, "narrow 2"]]:
    """The same, with each stretch as narrow as `16^-rounds` of what it was; several changes fall apart.

    `choose` gives the choices of places at points of their paths.
    """
    for _ in range(rounds):
        edges = _parts(stretches)
        chosen = choose(places, edges)
        of_stretch, part = (chosen[:, 1:] != chosen[:, :-1]).any(-1).nonzero(as_tuple=True)
        places = places[of_stretch]
        stretches = torch.stack([edges[of_stretch, part], edges[of_stretch, part + 1]], dim=-1)
    return places, stretches


def _parts(stretches: Float[Tensor, "stretch 2"]) -> Float[Tensor, "stretch edge"]:
    low, high = stretches[:, :1], stretches[:, 1:]
    return low + (high - low) * torch.linspace(0, 1, _PARTS + 1, dtype=low.dtype, device=low.device)
