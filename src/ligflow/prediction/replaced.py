"""Which tokens a reference is put on, and which are kept as they are."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from ligflow.errors import LigflowError
from ligflow.inputs.positions import positions
from ligflow.inputs.token_names import token_positions
from ligflow.inputs.tokens import Tokens
from ligflow.inputs.words import Span
from ligflow.prediction.question import Question

Spans = Any  # a position, a text that stands in the input, a (first, last) range, or several of these


def kept_tokens(question: Question, on: Spans | None, sink: bool = False) -> Bool[Tensor, " token"]:
    """The tokens that both runs share: all that `on` does not name.

    By default these are special tokens and a chat's template, the answer's taught tokens, a question's masks,
    and a decoder's tokens behind an encoder; of a question with passages all but the passages. With `sink` it
    is also a first token that is followed by others. Raises LigflowError for a span that is not in the input,
    and where every token is kept.
    """
    free = torch.zeros(len(question.taught), dtype=torch.bool)
    chosen = _by_default(question.tokens) if on is None else spanned(question.tokens, on)
    fixed = [*question.taught], [*question.asked], [*question.special] if on is None else []
    for place in chosen:
        free[place] = not any(marks[place] for marks in fixed if marks)
    if sink and on is None and int(free.sum()) > 1:
        free[0] = False
    if not bool(free.any()):
        raise LigflowError(
            "Every token is kept, so the reference is the input itself: "
            + (
                "the input has special tokens alone."
                if on is None
                else "on= names the answer's tokens alone."
            )
            + " Name the tokens to replace: on=[1, 2]."
        )
    return ~free


def _by_default(tokens: Tokens) -> Sequence[int]:
    """All tokens, or those of the passages where there are some."""
    inside = [place for _, span in tokens.passages for place in tokens_in(tokens, span)]
    return inside if tokens.passages else range(len(tokens.labels))


def tokens_in(tokens: Tokens, span: Span) -> list[int]:
    """The tokens whose first visible character stands in a span of the text."""
    text, begin, end = tokens.text or "", *span
    places = []
    for place, (low, high) in enumerate(tokens.spans or ()):
        first = low + len(text[low:high]) - len(text[low:high].lstrip())
        if low < high and begin <= min(first, high - 1) < end:
            places.append(place)
    return places


def spanned(tokens: Tokens, on: Spans) -> list[int]:
    """The positions of tokens that are named: by position, as a (first, last) range, or by what they say.

    A text stands for all tokens in which it lies, and must occur once. Raises LigflowError otherwise.
    """
    chosen = on if isinstance(on, Iterable) and not isinstance(on, str | tuple) else [on]
    places: set[int] = set()
    for span in chosen:
        if isinstance(span, str):
            places |= {*_places_of(span, tokens)}
        elif isinstance(span, tuple) and len(span) == 2:
            first, last = (positions("token", end, len(tokens.labels))[0] for end in span)
            if last < first:
                raise LigflowError(f"The span {span} ends before it begins; give (first, last) positions.")
            places |= {*range(first, last + 1)}
        else:
            places |= {*positions("token", span, len(tokens.labels))}
    if not places:
        raise LigflowError(
            "on= names no token; give a position, a range (first, last) or a text of the input."
        )
    return sorted(places)


def _places_of(text: str, tokens: Tokens) -> Sequence[int]:
    """The tokens of a text that occurs in the input; without the input's text, the token of that name."""
    spans = tokens.spans
    if tokens.text is None or spans is None:
        return token_positions(text, tokens.labels, "token")
    if not text.strip():
        raise LigflowError("on= is a blank text; give one that occurs in the input.")
    begins = _occurrences(text, tokens.text)
    if len(begins) != 1:
        count = f"{len(begins)} times" if begins else "not"
        remedy = "give a longer one, or positions" if begins else "give one as it stands there"
        raise LigflowError(f"{text!r} occurs {count} in the input; {remedy}.")
    begin, end = begins[0] + len(text) - len(text.lstrip()), begins[0] + len(text.rstrip())
    return [place for place, (low, high) in enumerate(spans) if low < end and begin < high]


def _occurrences(text: str, whole: str) -> list[int]:
    begins, at = [], whole.find(text)
    while at >= 0:
        begins.append(at)
        at = whole.find(text, at + 1)
    return begins
