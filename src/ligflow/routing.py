"""Experts held at the choice of the real input.

In a mixture of experts a token goes to the experts with the largest scores. Along a path scores change, and
where another expert overtakes the layer jumps: no integral of gradients sees a jump, so that completeness
fails and the certificate says so. With `experts="frozen"` every token keeps, at every point of its path, the
experts that it has in the real input, with the weights that their scores give them there: another map,
smooth where experts are, with the same end.

Routers choose by `torch.topk`, which is all that this module knows of them. In a layer that is replayed whole
(one that cannot be split), keys that an indexer chooses by `torch.topk` are held too.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn.functional import pad
from torch.overrides import TorchFunctionMode

from ligflow.errors import LigflowError, UnsupportedModel
from ligflow.replay import Layer
from ligflow.sentences import Sentences

Chosen = Int[Tensor, "row choice"]


class _OnTopk(TorchFunctionMode):
    """Hands every top-k that PyTorch computes in this thread, and that leaves some out, to `answer`."""

    def __init__(self, answer: Callable[[Any, Tensor], Any]) -> None:
        super().__init__()
        self.answer = answer

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if func not in (torch.topk, torch.Tensor.topk):
            return found
        scores = args[0] if args else (kwargs or {})["input"]
        return found if found.indices.shape == scores.shape else self.answer(found, scores)


def frozen(sentences: Sentences) -> Sentences:
    """The same rows, each with the experts that it has in the real input.

    Raises LigflowError for a layer that chooses no experts.
    """
    by_sentence = [choices(layer) for layer in sentences.layers]
    held = [
        torch.cat([pad(one, (0, 0, 0, sentences.tokens - len(one))) for one in call])
        for call in zip(*by_sentence, strict=True)
    ]
    return replace(sentences, held=tuple(held))


def choices(layer: Layer) -> list[Chosen]:
    """What each top-k of the layer chooses for its tokens."""
    tokens, found = len(layer.hidden), list[Chosen]()

    def note(topk: Any, scores: Tensor) -> Any:
        if tokens not in topk.indices.shape[:1] and topk.indices.shape[:2] != (1, tokens):
            raise UnsupportedModel(
                f"Layer {layer.index} chooses among scores of shape {tuple(scores.shape)}, not experts for "
                "each of its tokens; leave experts as they are routed."
            )
        found.append(topk.indices.reshape(tokens, -1))
        return topk

    with torch.no_grad(), _OnTopk(note):
        layer.forward(layer.hidden[None])
    if not found:
        raise LigflowError(
            f"Layer {layer.index} chooses no experts, so that there is nothing to hold: leave "
            "experts='frozen' out, or choose layers that have experts."
        )
    return found


def has_experts(layer: Layer) -> bool:
    """Whether a layer chooses experts for its tokens."""
    try:
        return bool(choices(layer))
    except LigflowError:
        return False


@contextmanager
def holding(held: Sequence[Chosen], rows: Int[Tensor, " place"]) -> Iterator[None]:
    """A run of a layer in which the token at each place has the experts of a row.

    A layer that takes one example at a time runs once for each, on the next places.
    """
    with _OnTopk(_answers(held, rows)) if held else nullcontext():
        yield


def _answers(held: Sequence[Chosen], rows: Int[Tensor, " place"]) -> Callable[[Any, Tensor], Any]:
    calls = itertools.count()

    def answer(topk: Any, scores: Tensor) -> Any:
        run, choice = divmod(next(calls), len(held))
        places = topk.indices.numel() // held[choice].shape[1]
        here = rows[run * places : (run + 1) * places]
        indices = held[choice][here].reshape(topk.indices.shape)
        return torch.return_types.topk((scores.gather(-1, indices), indices))

    return answer
