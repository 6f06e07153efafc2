"""Whether a map says what happens when sources are removed. Rows are targets, columns sources.

`z'_j(R)` is a target's output without the sources in R, `e(R) = ||z'_j(R) - z'_j|| / ||z'_j(all) - z'_j||`
its effect, as a share of that of removing all n players. With the players in the order of the magnitude of
their scores:

| measure | what | better |
|---|---|---|
| `rank_correlation` | Spearman correlation of `|score_k|` and `e({k})`, leave one out | high |
| `deletion` | mean effect as the first f n are removed, over f from 0 to 1 | high |
| `insertion` | mean of 1 - effect as all but the first f n are removed | high |
| `between` | the area between the two curves of 1 - effect, `insertion + deletion - 1` | high |
| `comprehensiveness` | effect of removing the first k | high |
| `sufficiency` | effect of removing all but the first k | low |

Comprehensiveness and sufficiency are those of ERASER [deyoung2020], with a layer's output in the place of a
class probability; insertion and deletion those of RISE [petsiuk2018]. All are undefined (NaN) for a target
that hardly moves when all players are removed, and where there are too few players.
An effect may be more than 1, where some sources move the target further than all of them: areas are those of
the effects as they are, to be read beside that of a greedy order on the same targets (`greedy_orders`).
(Quantus and captum change what a whole model is given; here it is what one layer is given.)
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ligflow.evaluation.consistency import spearman
from ligflow.evaluation.games import Image, still

MEASURES = (
    "rank_correlation", "deletion", "insertion", "between", "comprehensiveness", "sufficiency",
)  # fmt: skip
LOWER_IS_BETTER = ("sufficiency",)


def leave_one_out(image: Image, players: Bool[Tensor, "target source"]) -> Float[Tensor, "target source"]:
    """`||z'_j({k}) - z'_j||` for every player k; 0 for the others."""
    each = torch.eye(players.shape[1], dtype=torch.bool, device=players.device)[:, None]
    return _distance(image, each & players).T


def measured(
    image: Image,
    maps: Float[Tensor, "method target source"],
    players: Bool[Tensor, "target source"],
    steps: int = 10,
    top_k: int = 3,
) -> dict[str, Float[Tensor, "method target"]]:
    """Every measure of every map, for every target.

    `players` marks the sources that are removed; the others stay. The curves are taken at `steps` shares of
    the players, evenly, and joined by straight lines.
    """
    order = _order(maps, players)
    count = players.sum(dim=-1)
    whole = _distance(image, players[None])[0]
    alone = leave_one_out(image, players)
    marks = torch.arange(steps + 1, device=count.device)[:, None] * count / steps
    numbers = marks.round().long()
    firsts = order[:, None] < numbers[:, :, None]
    top = (order < top_k)[:, None]
    gone = torch.cat([firsts & players, players & ~firsts, top & players, players & ~top], dim=1)
    effect = (_distance(image, gone.flatten(0, 1)) / whole).unflatten(0, gone.shape[:2])
    taken, left = effect[:, : steps + 1], effect[:, steps + 1 : 2 * (steps + 1)]
    share = numbers / count
    measures = {
        "rank_correlation": spearman(maps.abs().double(), alone.double()[None], players[None]),
        "deletion": _mean(taken, share),
        "insertion": 1 - _mean(left, share),
        "between": _mean(taken, share) - _mean(left, share),
        "comprehensiveness": _enough(effect[:, -2], count, top_k),
        "sufficiency": _enough(effect[:, -1], count, top_k),
    }
    silent = still(image, players)
    return {name: value.double().masked_fill(silent, torch.nan) for name, value in measures.items()}


def _order(
    maps: Float[Tensor, "method target source"], players: Bool[Tensor, "target source"]
) -> Int[Tensor, "method target source"]:
    """The place of every player by magnitude, from 0; others come last, equals in order of position."""
    size = maps.abs().masked_fill(~players, -1.0)
    return size.argsort(dim=-1, descending=True, stable=True).argsort(dim=-1)


def _distance(image: Image, removed: Bool[Tensor, "set target source"]) -> Float[Tensor, "set target"]:
    """`||z'_j(R) - z'_j||`."""
    real = image(torch.zeros_like(removed[:1]))
    return (image(removed) - real).norm(dim=-1)


def _mean(
    curve: Float[Tensor, "method step target"], share: Float[Tensor, "step target"]
) -> Float[Tensor, "method target"]:
    """The area under a curve over the share of players, by straight lines."""
    return torch.trapezoid(curve, share.expand_as(curve), dim=1)


def _enough(effect: Tensor, count: Tensor, top_k: int) -> Tensor:
    return effect.masked_fill(count <= top_k, torch.nan)
