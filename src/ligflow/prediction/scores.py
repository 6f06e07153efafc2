"""Scores of a model's outputs: log-probabilities and logits of tokens and classes, and their differences."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from ligflow import names
from ligflow.errors import LigflowError
from ligflow.prediction.question import Score


def check_score(score: object) -> None:
    """Raises LigflowError for what is neither a score's name nor a function."""
    if score not in get_args(names.Score) and not callable(score):
        raise LigflowError(
            f"score is {score!r}; choose from {', '.join(get_args(names.Score))}, or give a function of the "
            "model's outputs for a batch of points: score=lambda outputs: outputs.logits[:, 0]."
        )


@dataclass(frozen=True, eq=False)
class OfLogits:
    """A score of outputs that reads nothing of them but the logits at the positions read.

    Where it has several rows, each of which reads one place, `rows` are these, by place.
    """

    of: Callable[[Float[Tensor, "point place number"]], Float[Tensor, "point row"]]
    rows: tuple[Callable[[Float[Tensor, "point 1 number"]], Float[Tensor, "point 1"]], ...] = ()

    def __call__(self, outputs: Any) -> Float[Tensor, "point row"]:
        """The score of the outputs for a batch of points.

        In float64: the probabilities of 200,000 tokens in float32 sum to 1 within 1e-6, which is taken times
        what all logits have in common, and is more than what tokens may be off where a score hardly changes.
        """
        return self.of(outputs.logits.double())


def tokens_score(ids: Sequence[int], score: str, rows: bool = False) -> OfLogits:
    """`Σ_i log p(token_i)` of tokens at the positions read, or their logits; `rows`: each alone."""

    def of(logits: Tensor) -> Tensor:
        numbers = logits if score == "logit" else logits.log_softmax(-1)
        each: Tensor = numbers[:, range(len(ids)), list(ids)]
        return each if rows else each.sum(-1, keepdim=True)

    each = tuple(tokens_score([number], score).of for number in ids) if rows else ()
    return OfLogits(of, each)


def tokens_contrast(places: Sequence[int], ids: Sequence[int], others: Sequence[int]) -> OfLogits:
    """`Σ_i logit(token_i) - logit(other_i)` at places among the positions read; the normaliser cancels."""

    def of(logits: Tensor) -> Tensor:
        here, there = (logits[:, list(places), list(numbers)] for numbers in (ids, others))
        return (here - there).sum(-1, keepdim=True)

    return OfLogits(of)


def class_score(number: int, score: str, labels: int, several: bool, position: int | None = None) -> Score:
    """A class's log-probability, or its logit; a single number is taken as it is.

    `several`: more than one class may hold at once, each with a probability of its own (a sigmoid's).
    """

    def of(outputs: Any) -> Float[Tensor, "point row"]:
        logits: Tensor = _at(outputs.logits, position)
        if score == "logprob" and labels > 1:
            logits = functional.logsigmoid(logits) if several else logits.log_softmax(-1)
        return logits[:, number : number + 1]

    return of


def class_contrast(number: int, other: int, position: int | None = None) -> Score:
    """`logit(class) - logit(other)`."""

    def of(outputs: Any) -> Float[Tensor, "point row"]:
        logits: Tensor = _at(outputs.logits, position)
        return (logits[:, number] - logits[:, other])[:, None]

    return of


def own_score(function: Any) -> Score:
    """A function of the outputs, of which a batch of points gives a column or several.

    Raises LigflowError (when it is called) where it gives anything else.
    """

    def of(outputs: Any) -> Float[Tensor, "point row"]:
        values = function(outputs)
        if not isinstance(values, Tensor) or values.ndim not in (1, 2) or not values.is_floating_point():
            shape = f"a tensor {[*values.shape]}" if isinstance(values, Tensor) else type(values).__name__
            raise LigflowError(
                f"score gives {shape}; it is called with the outputs for a batch of points, and must give a "
                "real number for each: a tensor [point], or [point, row] for several scores at once."
            )
        return values[:, None] if values.ndim == 1 else values

    return of


def _at(logits: Tensor, position: int | None) -> Tensor:
    return logits if position is None else logits[:, position]
