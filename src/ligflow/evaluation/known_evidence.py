"""Does relevance point where the answer is known to stand? Each measure is 0 on average for random relevance.

| measure | of | formula |
|---|---|---|
| recall | e tokens that hold the answer | the share of them among the e most relevant, less `e / n` |
| place | the one token that decides | `(n - rank) / (n - 1) - 1/2`: 1/2 at the top, -1/2 at the bottom |
| share | the one token that decides | its share of `Σ|relevance|`, less `1 / n` |
"""

import numpy as np
from jaxtyping import Float, Int

from ligflow.evaluation.removal_curves import order


def recall_over_chance(
    relevance: Float[np.ndarray, " token"],
    players: Int[np.ndarray, " player"],
    evidence: Int[np.ndarray, " held"],
) -> float:
    """The share of the evidence among as many of the most relevant players, less that of a random order."""
    held = np.intersect1d(evidence, players)
    if not len(held):
        return float("nan")
    top = order(relevance, players)[: len(held)]
    return len(np.intersect1d(top, held)) / len(held) - len(held) / len(players)


def place_over_chance(
    relevance: Float[np.ndarray, " token"], players: Int[np.ndarray, " player"], token: int
) -> float:
    """How high a token ranks by `|relevance|`: 1/2 at the top, -1/2 at the bottom; ties in the middle."""
    if token not in players or len(players) < 2:
        return float("nan")
    sizes = np.abs(np.asarray(relevance, dtype=np.float64))
    others = sizes[players[players != token]]
    return float(((others < sizes[token]).sum() + (others == sizes[token]).sum() / 2) / len(others) - 0.5)


def share_over_chance(
    relevance: Float[np.ndarray, " token"], players: Int[np.ndarray, " player"], token: int
) -> float:
    """A token's share of `Σ|relevance|`, less `1 / n`; NaN where all is 0."""
    sizes = np.abs(np.asarray(relevance, dtype=np.float64))
    total = sizes[players].sum()
    return float(sizes[token] / total - 1 / len(players)) if total > 0 and token in players else float("nan")
