"""Experts held at the choice of the real input.

In a mixture of experts a token goes to the experts with the largest scores. Along a path scores change, and
where another expert overtakes the layer jumps: no integral of gradients sees a jump, so that completeness
fails and the certificate says so. With `experts="frozen"` every token keeps, at every point of its path, the
experts that it has in the real input, with the weights that their scores give them there: another map,
smooth where experts are, with the same end.

Routers choose by `torch.topk`, or by `argmax` or `max` over their scores, which is all that this module
knows of them. In a layer that is replayed whole (one that cannot be split), keys that an indexer chooses by
`torch.topk` are held too.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ligflow.errors import LigflowError, UnsupportedModel
from ligflow.layer.layer import Layer

Chosen = Int[Tensor, "row choice"]


_TOPK, _MAX = (torch.topk, Tensor.topk), (torch.max, Tensor.max)
_ARGMAX = (torch.argmax, Tensor.argmax)
_CHOOSING = frozenset({*_TOPK, *_MAX, *_ARGMAX})


class _OnChoices(TorchFunctionMode):
    """Hands the indices of every choice in this thread, if it leaves some out, to `answer`.

    What it returns is chosen instead.
    """

    def __init__(self, answer: Callable[[Tensor, Tensor], Tensor], keep_grad: bool = False) -> None:
        super().__init__()
        self.answer, self.keep_grad = answer, keep_grad

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self.keep_grad and func is torch._C._set_grad_enabled:  # routers may choose under no_grad
            return None
        result = func(*args, **kwargs)
        if func not in _CHOOSING:
            return result
        scores = args[0] if args else kwargs["input"]
        indices = _indices(func, result, scores, kwargs.get("dim", args[1] if len(args) > 1 else None))
        if indices is None or indices.shape == scores.shape:
            return result
        return _chosen(func, result, scores, self.answer(indices, scores))


def _indices(func: Any, result: Any, scores: Tensor, dim: Any) -> Tensor | None:
    """The chosen indices `[..., choices]`, None for a maximum that is no choice among scores."""
    if func in _TOPK:
        return result.indices
    if not isinstance(dim, int):  # of all numbers, or of two tensors
        return None
    if scores.ndim not in (2, 3) or dim not in (-1, scores.ndim - 1) or not scores.is_floating_point():
        return None
    indices = result if func in _ARGMAX else result.indices
    return indices if indices.ndim == scores.ndim else indices[..., None]


def _chosen(func: Any, result: Any, scores: Tensor, indices: Tensor) -> Any:
    """What `func` gives where these are chosen."""
    if func in _ARGMAX:
        return indices.reshape(result.shape)
    kind = torch.return_types.topk if func in _TOPK else torch.return_types.max
    shape = result.indices.shape
    return kind((scores.gather(-1, indices).reshape(shape), indices.reshape(shape)))


def choices(layer: Layer) -> list[Chosen]:
    """What each top-k of the layer chooses for its tokens."""
    tokens, chosen = len(layer.hidden), list[Chosen]()

    def note(indices: Tensor, scores: Tensor) -> Tensor:
        if tokens not in indices.shape[:1] and indices.shape[:2] != (1, tokens):
            raise UnsupportedModel(
                f"Layer {layer.index} chooses among scores of shape {tuple(scores.shape)}, not experts for "
                "each of its tokens; leave experts as they are routed."
            )
        chosen.append(indices.reshape(tokens, -1))
        return indices

    with torch.no_grad(), _OnChoices(note):
        layer.forward(layer.hidden[None])
    if not chosen:
        raise LigflowError(
            f"Layer {layer.index} chooses no experts, so that there is nothing to hold: leave "
            "experts='frozen' out, or choose layers that have experts."
        )
    return chosen


def noted(run: Callable[[], object], calls: int) -> Int[Tensor, "place choice"] | None:
    """What is chosen at every place of a run in which the layer chooses `calls` times.

    None where its choices are not of the same places: an attention with experts of its own (JetMoE) chooses
    for all tokens, and what follows it for those that are asked about.
    """
    by_call: list[Tensor] = []

    def note(indices: Tensor, _scores: Tensor) -> Tensor:
        by_call.append(indices.flatten(0, -2).sort(-1).values)
        return indices

    with _OnChoices(note):
        run()
    choices_of_calls = [torch.cat(by_call[call::calls]) for call in range(calls)]
    if len({len(choices) for choices in choices_of_calls}) > 1:
        return None
    return torch.cat(choices_of_calls, dim=-1)


class _Enough(Exception):
    """Ends a run at its last choice."""


def rows_of_choices(run: Callable[[], object]) -> tuple[int, ...]:
    """How many rows of scores each choice of a run looks at, in the order of the choices."""
    rows: list[int] = []

    def note(indices: Tensor, _scores: Tensor) -> Tensor:
        rows.append(indices.shape[:-1].numel())
        return indices

    with _OnChoices(note):
        run()
    return tuple(rows)


def choices_at(
    run: Callable[[], object], rows: Sequence[int], points: int
) -> list[tuple[Int[Tensor, "point row choice"], Float[Tensor, "point row score"]]] | None:
    """What a run at so many points chooses, and among which scores; it ends at the last of its choices.

    `rows` are those of a run at one point (`rows_of_choices`), which is how often and for how many rows each
    point chooses. None where it chooses otherwise. Scores have a gradient where gradients are on, whatever
    the model's code switches off on its way.
    """
    noted_calls: list[list[tuple[Tensor, Tensor]]] = [[] for _ in rows]
    calls = itertools.count()

    def note(indices: Tensor, scores: Tensor) -> Tensor:
        call = next(calls) % len(rows)
        noted_calls[call].append((indices.flatten(0, -2), scores.flatten(0, -2)))
        if call == len(rows) - 1 and sum(len(each) for each, _ in noted_calls[-1]) >= rows[-1] * points:
            raise _Enough
        return indices

    with suppress(_Enough), _OnChoices(note, keep_grad=torch.is_grad_enabled()):
        run()
    joined = [(torch.cat([i for i, _ in call]), torch.cat([s for _, s in call])) for call in noted_calls]
    if [len(indices) for indices, _ in joined] != [count * points for count in rows]:
        return None
    return [
        (indices.unflatten(0, (points, -1)), scores.unflatten(0, (points, -1))) for indices, scores in joined
    ]


def has_experts(layer: Layer) -> bool:
    """Whether a layer chooses experts for its tokens."""
    return count_of_choices(layer) > 0


def count_of_choices(layer: Layer) -> int:
    """How often a layer chooses among experts for each of its tokens."""
    try:
        return len(choices(layer))
    except LigflowError:
        return 0


@contextmanager
def holding(held: Sequence[Chosen], rows: Int[Tensor, " place"]) -> Iterator[None]:
    """A run of a layer in which the token at each place has the experts of a row.

    A layer that takes one example at a time runs once for each, on the next places.
    """
    with _OnChoices(_answers(held, rows)) if held else nullcontext():
        yield


@contextmanager
def holding_each(held: Sequence[Tensor]) -> Iterator[None]:
    """Runs of a layer on any number of examples, the tokens of each of which have the experts of a row."""
    calls = itertools.count()

    def answer(indices: Tensor, _scores: Tensor) -> Tensor:
        rows = held[next(calls) % len(held)]
        return rows.repeat(indices.numel() // rows.numel(), 1).reshape(indices.shape)

    with _OnChoices(answer):
        yield


def _answers(held: Sequence[Chosen], rows: Int[Tensor, " place"]) -> Callable[[Tensor, Tensor], Tensor]:
    calls = itertools.count()

    def answer(indices: Tensor, _scores: Tensor) -> Tensor:
        run, choice = divmod(next(calls), len(held))
        places = indices.numel() // held[choice].shape[1]
        here = rows[run * places : (run + 1) * places]
        return held[choice][here].reshape(indices.shape)

    return answer
