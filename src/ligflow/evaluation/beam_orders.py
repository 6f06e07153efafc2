"""The best and the worst order of removal, looked for by a beam where all sets are too many [edin2024].

At each step every order that is kept is continued by each token that is left, and those whose area over the
curve is largest so far stay. With a beam of one this is greedy; no beam is sure to find the best.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float

from ligflow.errors import LigflowError
from ligflow.evaluation.all_subsets import Bounds

BEAM = 5
Values = Callable[[Bool[np.ndarray, "set player"]], Float[np.ndarray, " set"]]


def beam_bounds(values: Values, players: int, beam: int = BEAM) -> Bounds:
    """The least and the largest area over the curve that a beam of so many orders finds.

    `values` are scores of sets of removed players. Raises LigflowError for a beam below 1, or no players.
    """
    if beam < 1 or players < 1:
        raise LigflowError(f"beam is {beam}, of {players} players; both must be 1 at least.")
    worst, best = (sign * _largest(values, players, beam, sign) for sign in (-1, 1))
    return Bounds(worst / players, best / players)


def _largest(values: Values, players: int, beam: int, sign: int) -> float:
    """The largest `sign Σ_i v({}) - v(the first i)` of the orders that stay."""
    gone, area = np.zeros((1, players), dtype=bool), np.zeros(1)
    whole = float(values(gone)[0])
    for _ in range(players):
        parent, player = np.nonzero(~gone)
        longer = gone[parent]
        longer[np.arange(len(player)), player] = True
        sets, first = np.unique(longer, axis=0, return_inverse=True)
        lost = sign * (whole - values(sets))[first.reshape(-1)]
        total = area[parent] + lost
        kept = [np.flatnonzero(first.reshape(-1) == place) for place in range(len(sets))]
        tops = np.array([each[total[each].argmax()] for each in kept])  # of two ways to a set the better
        tops = tops[np.argsort(-total[tops], kind="stable")[:beam]]
        gone, area = longer[tops], total[tops]
    return float(area.max())
