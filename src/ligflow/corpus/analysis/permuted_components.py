"""A control of which components carry a task: the same values, and in each prompt of other components.

In each draw, the shares of every prompt are exchanged at random among the components of a kind, each prompt
by itself, before they are averaged over prompts. What is left is how large a mean comes out where no
component is the same in two prompts. It can fail: where heads differ from prompt to prompt, none is above it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ligflow.corpus.analysis.prompt_components import Component
from ligflow.evaluation.bootstrap import LEVEL

_STREAM = 1  # other numbers than those that the bootstrap draws from the same seed


@dataclass(eq=False)
class Control:
    """Sums of exchanged shares so far: `sums[kind]` has a row a draw."""

    places: dict[str, list[int]]
    sums: dict[str, Float[np.ndarray, "draw component"]]
    prompts: int = 0

    def take(self, share: Float[np.ndarray, "prompt component"], numbers: Sequence[int], seed: int) -> None:
        """Adds more prompts; how one is exchanged depends on the seed and its number alone."""
        for number, row in zip(numbers, share, strict=True):
            draw = np.random.default_rng([seed, number, _STREAM])
            for kind, own in self.places.items():
                sums = self.sums[kind]
                sums += draw.permuted(np.broadcast_to(row[own], sums.shape), axis=1)
        self.prompts += len(numbers)

    @property
    def limits(self) -> dict[str, float]:
        """By kind: what the largest mean share, without its sign, stays below in 95% of the draws."""
        return {
            kind: float(np.quantile(np.abs(sums / self.prompts).max(axis=1), LEVEL))
            for kind, sums in self.sums.items()
        }


def begun_control(components: Sequence[Component], draws: int) -> Control:
    """The control before the first prompt."""
    places: dict[str, list[int]] = {}
    for at, part in enumerate(components):
        places.setdefault(part.kind, []).append(at)
    return Control(places, {kind: np.zeros((draws, len(own))) for kind, own in places.items()})
