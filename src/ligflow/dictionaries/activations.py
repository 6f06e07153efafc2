"""From the scores of a dictionary's encoder to activations of its features."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

Scores = Float[Tensor, "token feature"]
Activation = Callable[[Scores], Scores]  # each token alone


@dataclass(frozen=True)
class Relu:
    """`max(0, s_f)`: standard autoencoders."""

    def __call__(self, scores: Scores) -> Scores:
        """Of scores."""
        return scores.relu()


@dataclass(frozen=True, eq=False)
class Jump:
    """`max(0, s_f)` where `s_f > θ_f`, else 0: JumpReLU, and batch-top-k once it is trained."""

    threshold: Float[Tensor, " feature"]

    def __call__(self, scores: Scores) -> Scores:
        """Of scores."""
        return scores.relu() * (scores > self.threshold.to(scores))


@dataclass(frozen=True, eq=False)
class Gated:
    """`max(0, s_f exp(r_f) + c_f)` where `s_f + g_f > 0`, else 0, with scores that have no bias yet."""

    gate: Float[Tensor, " feature"]
    size: Float[Tensor, " feature"]
    bias: Float[Tensor, " feature"]

    def __call__(self, scores: Scores) -> Scores:
        """Of scores."""
        gate, size, bias = (tensor.to(scores) for tensor in (self.gate, self.size, self.bias))
        return (scores * size.exp() + bias).relu() * (scores + gate > 0)


@dataclass(frozen=True)
class TopK:
    """The k largest scores of each token, of these what is above 0; the others 0.

    Where it is `signed` the largest may also be below 0; `by_size` takes the k farthest from 0.
    """

    k: int
    signed: bool = False
    by_size: bool = False

    def __call__(self, scores: Scores) -> Scores:
        """Of scores."""
        sizes = scores.abs() if self.by_size else scores
        places = sizes.topk(self.k, dim=-1, sorted=False).indices
        kept = scores.gather(-1, places)
        kept = kept if self.signed or self.by_size else kept.relu()
        return torch.zeros_like(scores).scatter(-1, places, kept)


@dataclass(frozen=True)
class GroupMax:
    """The largest score of each of k groups of neighbours, where it is above 0; the others 0."""

    k: int

    def __call__(self, scores: Scores) -> Scores:
        """Of scores."""
        groups = scores.relu().unflatten(-1, (self.k, -1))
        best = groups.max(-1, keepdim=True)
        return torch.zeros_like(groups).scatter(-1, best.indices, best.values).flatten(-2)
