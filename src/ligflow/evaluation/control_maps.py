"""Maps that know less than a composed one: what an agreement must beat to say anything about it.

| control | what it keeps | what it forgets |
|---|---|---|
| `heads_alike` | attention's shares | how much each head writes: all heads of a target write their mean |
| `heads_permuted` | and the amounts | which head writes which |
| `mean_row` | the sentence's mean row | the target |
| `neighbour` | a row of the map, that of the next token | whose row it is |

Unlike values in random order (`shuffled_rows`), whose correlation is 0 by construction, each of them may
agree as well as the map itself. Where a layer has one head, the first two are that map.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def heads_alike(u2z: Float[Tensor, "layer head target"]) -> Float[Tensor, "layer head target"]:
    """The mean over heads for every head, `M'_hj = (1/H) sum_g M_gj`."""
    return u2z.mean(dim=1, keepdim=True).expand_as(u2z)


def heads_permuted(
    u2z: Float[Tensor, "layer head target"], generator: torch.Generator
) -> Float[Tensor, "layer head target"]:
    """What the heads write, exchanged among them so that none keeps its own; one random circle for all."""
    circle = torch.randperm(u2z.shape[1], generator=generator, device=generator.device)
    permuted = torch.empty_like(u2z)
    permuted[:, circle] = u2z[:, circle.roll(1)]
    return permuted


def mean_row(
    maps: Float[Tensor, "*map target source"], compared: Bool[Tensor, "*#map target source"]
) -> Float[Tensor, "*map target source"]:
    """The sentence's mean row for every target: of each source the mean over targets that compare it."""
    count = compared.sum(dim=-2, keepdim=True).clamp(min=1)
    mean = torch.where(compared, maps, 0.0).sum(dim=-2, keepdim=True) / count
    return mean.expand_as(maps)


def neighbour(maps: Float[Tensor, "*map target source"]) -> Float[Tensor, "*map target source"]:
    """The row of the next target for every target, for the last one that of the target before it."""
    count = maps.shape[-2]
    following = [*range(1, count), max(count - 2, 0)]
    return maps[..., following, :]
