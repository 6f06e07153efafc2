"""Experts held at the choice of the real input.

In a mixture of experts a token goes to the experts with the largest scores. Along a path scores change, and
where another expert overtakes the layer jumps: no integral of gradients sees a jump, so that completeness
fails and the certificate says so. With `experts="frozen"` every token keeps, at every point of its path, the
experts that it has in the real input, with the weights that their scores give them there: another map,
smooth where experts are, with the same end.

Routers choose by `torch.topk`, which is all that this module knows of them.
"""

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
    """Hands every top-k that PyTorch computes in this thread to `answer(found, scores)`."""

    def __init__(self, answer: Callable[[Any, Tensor], Any]) -> None:
        super().__init__()
        self.answer = answer

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if func not in (torch.topk, torch.Tensor.topk):
            return found
        return self.answer(found, args[0] if args else (kwargs or {})["input"])


def frozen(sentences: Sentences) -> Sentences:
    """The same rows, each with the experts that it has in the real input.

    Raises UnsupportedModel for a layer that cannot be split, LigflowError for one that chooses no experts.
    """
    by_sentence = [_choices(layer) for layer in sentences.layers]
    held = [
        torch.cat([pad(one, (0, 0, 0, sentences.tokens - len(one))) for one in call])
        for call in zip(*by_sentence, strict=True)
    ]
    return replace(sentences, held=tuple(held))


def _choices(layer: Layer) -> list[Chosen]:
    """What each top-k of the layer chooses for its tokens."""
    refusal = layer.refusal or ("it takes one example at a time" if layer.one_by_one else "")
    if refusal:
        raise UnsupportedModel(f"Layer {layer.index} cannot hold its experts: {refusal}.")
    found: list[Chosen] = []

    def note(topk: Any, scores: Tensor) -> Any:
        if topk.indices.shape[:-1] != scores.shape[:-1] or topk.indices[..., 0].numel() != len(layer.hidden):
            raise UnsupportedModel(
                f"Layer {layer.index} chooses among scores of shape {tuple(scores.shape)}, not experts for "
                "each of its tokens; leave experts as they are routed."
            )
        found.append(topk.indices.reshape(len(layer.hidden), -1))
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
        return bool(_choices(layer))
    except LigflowError:
        return False


@contextmanager
def holding(held: Sequence[Chosen], rows: Int[Tensor, " place"]) -> Iterator[None]:
    """One run of a layer in which the token at each place has the experts of a row."""
    with _OnTopk(_answers(held, rows)) if held else nullcontext():
        yield


def _answers(held: Sequence[Chosen], rows: Int[Tensor, " place"]) -> Callable[[Any, Tensor], Any]:
    calls = iter(held)

    def answer(topk: Any, scores: Tensor) -> Any:
        indices = next(calls)[rows].reshape(topk.indices.shape)
        return torch.return_types.topk((scores.gather(-1, indices), indices))

    return answer
