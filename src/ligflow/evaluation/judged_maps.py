"""Maps of many methods judged by one game of removal, under every measure, with what bounds them.

Beside the methods stand controls: `leave one out` and `greedy`, which look at the effects themselves; a map
that is `all positive`; and `half of the judge`, which holds the Shapley values by one half of the orders
against those by the other: if these correlate by r, the values of all orders do with the true ones by about
`sqrt(2 r / (1 + r))` [spearman1910], and no method can be expected to agree better.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ligflow.evaluation import faithfulness, signs_and_amounts
from ligflow.evaluation.consistency import spearman
from ligflow.evaluation.games import EFFECT, LOSS, Game, Image, alone, removal_game, still
from ligflow.evaluation.greedy_orders import greedy_removal, greedy_return
from ligflow.evaluation.shapley import Sampled, shapley_values

SHAPLEY_RANK = "shapley_rank"
MEASURES = (SHAPLEY_RANK, *faithfulness.MEASURES, *signs_and_amounts.MEASURES)
LEAVE_ONE_OUT, GREEDY, POSITIVE, HALF = "leave one out", "greedy", "all positive", "half of the judge"
Rows = dict[str, Float[Tensor, " target"]]  # of each method


def judged(
    image: Image,
    maps: Mapping[str, Float[Tensor, "target source"]],
    signed: frozenset[str],
    players: Bool[Tensor, "target source"],
    steps: int = 10,
    top_k: int = 3,
    pairs: int = 16,
    seed: int = 0,
) -> dict[str, Rows]:
    """Every measure of every method for every target; NaN for targets that say nothing.

    `shapley_rank` is the rank correlation of the magnitudes with those of the Shapley values of the effect;
    signs are asked of `signed` methods alone. Raises LigflowError for too few pairs of orders.
    """
    game = removal_game(image, players)
    lost, judge = alone(game, players), shapley_values(game, players, pairs, seed)
    both = {name: values.double() for name, values in maps.items()} | {LEAVE_ONE_OUT: lost[EFFECT]}
    stacked = torch.stack(list(both.values()))
    measures = faithfulness.measured(image, stacked, players, steps, top_k)
    measures[SHAPLEY_RANK] = _alike(stacked, judge.value[EFFECT], players)
    rows = {name: dict(zip(both, values, strict=True)) for name, values in measures.items()}
    for name, values in _greedy(image, game, players, steps, top_k).items():
        rows[name][GREEDY] = values
    rows[SHAPLEY_RANK][HALF] = _alike(judge.halves[0, EFFECT], judge.halves[1, EFFECT], players)
    rows |= _signs({name: both[name] for name in both if name in signed}, lost[LOSS], players)
    rows |= _amounts(both, lost[LOSS], judge, players)
    silent = still(image, players)
    return {
        measure: {name: value.masked_fill(silent, torch.nan) for name, value in of_methods.items()}
        for measure, of_methods in rows.items()
    }


def _alike(maps: Tensor, values: Tensor, players: Tensor) -> Float[Tensor, "*method target"]:
    return spearman(maps.abs(), values.abs(), players)


def _greedy(image: Image, game: Game, players: Tensor, steps: int, top_k: int) -> Rows:
    """The measures of curves: what is removed in a greedy order, and what is kept in another."""
    orders = torch.stack([greedy_removal(game, players), greedy_return(game, players)])
    of_orders = faithfulness.measured(image, orders, players, steps, top_k)
    taken = {name: of_orders[name][0] for name in ("deletion", "comprehensiveness")}
    left = {name: of_orders[name][1] for name in ("insertion", "sufficiency")}
    return taken | left | {"between": taken["deletion"] + left["insertion"] - 1}


def _signs(
    maps: Mapping[str, Tensor], lost: Float[Tensor, "target source"], players: Tensor
) -> dict[str, Rows]:
    """Of methods whose signs mean something, and of a map that is positive everywhere."""
    both = {**maps, POSITIVE: torch.ones_like(lost)}
    measures = signs_and_amounts.signs(torch.stack(list(both.values())), lost, players)
    return {measure: dict(zip(both, values, strict=True)) for measure, values in measures.items()}


def _amounts(
    maps: Mapping[str, Tensor], lost: Float[Tensor, "target source"], judge: Sampled, players: Tensor
) -> dict[str, Rows]:
    both = {**maps, POSITIVE: torch.ones_like(lost)}
    stacked = torch.stack(list(both.values()))
    by_one, by_orders = (
        dict(zip(both, signs_and_amounts.amounts(stacked, each, players), strict=True))
        for each in (lost, judge.value[LOSS])
    )
    first, second = judge.halves[:, LOSS]
    by_orders[HALF] = signs_and_amounts.amounts(first[None], second, players)[0]
    return {"amounts_alone": by_one, "amounts_shapley": by_orders}
