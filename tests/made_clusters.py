"""Means of made-up clusters, and their draws."""

import numpy as np


def drawn(values: np.ndarray, draws: int = 300, seed: int = 0) -> np.ndarray:
    """Means over clusters [cluster, cell] in every draw of a Poisson bootstrap; row 0 is as they are."""
    weight = np.random.default_rng(seed + 1_000_003).poisson(1.0, (draws, len(values)))
    whole = np.concatenate([np.ones((1, len(values))), weight])
    return whole @ values / whole.sum(axis=1, keepdims=True)
