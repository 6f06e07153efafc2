"""Copies of a model that have learnt nothing, on which a run is done again: what of it is the layer's form?

| kind | weights |
|---|---|
| `new weights` | drawn as before any training |
| `permuted weights` | those of the layers, each matrix with its entries in random order |

Permuted weights keep the sizes of the trained ones, which new ones do not. One draw says nothing of others:
several seeds do.
"""

from dataclasses import dataclass

import torch

from ligflow.errors import LigflowError
from ligflow.evaluation.shuffled_weights import with_shuffled_weights
from ligflow.explainer.explainer import Explainer
from ligflow.names import TWINS

_NAMES = {kind: name for name, kind in TWINS.items()}


@dataclass(frozen=True)
class Twin:
    """Which copy: its kind of weights, and the seed of their draw. Raises LigflowError for another kind."""

    kind: str
    seed: int

    def __post_init__(self) -> None:
        if self.kind not in _NAMES:
            raise LigflowError(f"Unknown kind of twin {self.kind!r}; choose from {', '.join(_NAMES)}.")

    @property
    def name(self) -> str:
        """What its folder is called, e.g. `permuted-3`."""
        return f"{_NAMES[self.kind]}-{self.seed}"

    @property
    def weights(self) -> str:
        """What its weights are, in words."""
        return f"{self.kind}, seed {self.seed}"


def twins(kinds: tuple[str, ...], seeds: int, first: int = 0) -> tuple[Twin, ...]:
    """So many seeds of each kind, from the `first`. Raises LigflowError for a number below 1."""
    if seeds < 1:
        raise LigflowError(f"There are {seeds} seeds of a twin; give a whole number from 1.")
    return tuple(Twin(kind, seed) for kind in kinds for seed in range(first, first + seeds))


def twin_of(explainer: Explainer, twin: Twin) -> Explainer:
    """The same architecture with the weights of the twin."""
    model = explainer.model
    if twin.kind == "permuted weights":
        other = with_shuffled_weights(model, twin.seed)
    else:
        with torch.random.fork_rng(), torch.device(model.device):
            torch.manual_seed(twin.seed)
            other = type(model)._from_config(model.config, dtype=model.dtype).eval()
    return Explainer(other, explainer.tokenizer, name=explainer.name, revision=explainer.revision)
