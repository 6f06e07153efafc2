"""The token that says least, with which a text is compared: its embedding is the neutral reference."""

from collections.abc import Iterator
from typing import Any

import torch

from ligflow.errors import LigflowError
from ligflow.inputs.token_text import token_text
from ligflow.prediction.embedded import Embedded

_FLAT = 1e-3  # of the usual length of an embedding: a path from such a row starts where a norm has no slope
_SAMPLE = 1024
_ENDS = (
    "<|endoftext|>",
    "<|end_of_text|>",
    "<|im_end|>",
    "<|eot_id|>",
    "<end_of_turn>",
    "</s>",
    "<eos>",
    "[SEP]",
)


def neutral_token(tokenizer: Any, at: Embedded) -> tuple[int, str]:
    """A token without content and a sentence that says which it is and why.

    The mask token; else the unknown token, unless it marks where texts begin or end; else a blank, a full
    stop, a line end, or the token of padding. A token whose embedding is nearly zero is never taken: the path
    would begin where the first norm has no slope. Raises LigflowError where none is left.
    """
    if tokenizer is None:
        raise LigflowError(
            "The neutral reference is a token of the tokenizer, and there is none: Explainer(model, "
            'tokenizer), or choose reference="mean", token ids or a tensor of embeddings.'
        )
    skipped: list[str] = []
    usual = _usual_length(at)
    for number, what, reason in _candidates(tokenizer):
        if number >= at.size:
            skipped.append(f"{what} is not among the model's embeddings")
        elif reason:
            skipped.append(f"{what} {reason}")
        elif float(at.of_ids(torch.tensor([number])).norm()) <= _FLAT * usual:
            skipped.append(f"the embedding of {what} is zero")
        else:
            why = f" ({'; '.join(skipped)})" if skipped else ""
            return number, f"the neutral reference is {token_text(tokenizer, number)!r}, {what}{why}"
    raise LigflowError(
        f"No token of {type(tokenizer).__name__} is neutral: {'; '.join(skipped)}. Choose "
        'reference="mean", "random", or a text of as many tokens.'
    )


def _candidates(tokenizer: Any) -> Iterator[tuple[int, str, str]]:
    """Tokens from the most neutral on, what each is, and why it cannot be taken ('': it can)."""
    mask, unknown, padding = (getattr(tokenizer, f"{name}_token_id", None) for name in ("mask", "unk", "pad"))
    if mask is not None:
        yield mask, "the mask token", ""
    if unknown is not None:
        yield unknown, "the unknown token", _as_mark(tokenizer, unknown)
    for text, what in ((" ", "a blank"), (".", "a full stop"), ("\n", "a line end")):
        ids = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        if len(ids) == 1 and ids[0] != unknown:
            yield ids[0], what, ""
    if padding is not None and padding != unknown:
        yield padding, "the padding token", _as_mark(tokenizer, padding)


def _as_mark(tokenizer: Any, number: int) -> str:
    """What a token marks off beside; '' for nothing."""
    for name, what in (("eos", "ends"), ("bos", "begins"), ("sep", "ends")):
        if getattr(tokenizer, f"{name}_token_id", None) == number:
            return f"is the token that {what} a text too"
    text = token_text(tokenizer, number)
    return f"is {text!r}, which ends texts" if text in _ENDS else ""


def _usual_length(at: Embedded) -> float:
    """The median length of embeddings, of a thousand tokens or fewer."""
    ids = torch.arange(0, at.size, max(1, at.size // _SAMPLE))
    return float(at.of_ids(ids).double().norm(dim=-1).median())
