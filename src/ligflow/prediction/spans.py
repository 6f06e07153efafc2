"""Named spans of a question's tokens: sentences, turns of a chat, passages, regions of an image."""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import regex

from ligflow.inputs.tokens import Tokens
from ligflow.inputs.words import Span
from ligflow.prediction.question import Question
from ligflow.prediction.replaced import tokens_in

NamedSpans = list[tuple[str, list[int]]]
_CLOSING = r"[\"'”’»」』)\]]*"
_END = regex.compile(rf"(?:(?<!(?:^|\W)\p{{Lu}})[.!?…]+{_CLOSING}(?=\s)|[。！？]+{_CLOSING}|\n\s*\n)\s*")
_AREAS = {1: ("",), 2: ("left", "right"), 3: ("left", "middle", "right")}
_HEIGHTS = {1: ("",), 2: ("upper", "lower"), 3: ("upper", "middle", "lower")}


def spans_of(question: Question) -> dict[str, NamedSpans]:
    """What `Prediction.by` can sum over beside words: the positions of each span, by kind and name.

    Kinds are `sentences` of a text, `turns` of a chat, `passages`, and `regions` of an image; those that an
    input has not are left out.
    """
    tokens = question.tokens
    kinds = {
        "sentences": _in_text(tokens, _sentences(tokens)),
        "turns": _in_text(
            tokens, ((f"{number} {role}", span) for number, (role, span) in enumerate(tokens.turns, 1))
        ),
        "passages": _in_text(tokens, iter(tokens.passages)),
        "regions": regions(tokens.layout.get("patches")),
    }
    return {kind: spans for kind, spans in kinds.items() if spans}


def _in_text(tokens: Tokens, named: Iterator[tuple[str, Span]]) -> NamedSpans:
    """The tokens of spans of the text, those that have some."""
    placed = ((name, tokens_in(tokens, span)) for name, span in named)
    return [(name, places) for name, places in placed if places]


def _sentences(tokens: Tokens) -> Iterator[tuple[str, Span]]:
    """The sentences of a text, or of what is said in a chat."""
    text = tokens.text or ""
    for begin, end in [span for _, span in tokens.turns] or [(0, len(text))]:
        for low, high in sentence_spans(text[begin:end]):
            yield text[begin + low : begin + high], (begin + low, begin + high)


def sentence_spans(text: str) -> list[Span]:
    """Where sentences begin and end: behind a full stop (of no initial) and a blank, and at blank lines."""
    cuts = [0, *(match.end() for match in _END.finditer(text)), len(text)]
    spans = ((low, low + len(text[low:high].rstrip())) for low, high in pairwise(cuts))
    return [(low, high) for low, high in spans if low < high]


def regions(patches: Mapping[str, Any] | None) -> NamedSpans:
    """An image in up to three by three parts of (nearly) as many rows and columns of patches."""
    if patches is None:
        return []
    rows, columns, first = (int(patches[name]) for name in ("rows", "columns", "first"))
    areas: NamedSpans = []
    for height, own_rows in zip(_HEIGHTS[min(rows, 3)], _parts(rows), strict=True):
        for area, own_columns in zip(_AREAS[min(columns, 3)], _parts(columns), strict=True):
            places = [first + row * columns + column for row in own_rows for column in own_columns]
            areas.append((f"{height} {area}".strip() or "all", places))
    return areas


def _parts(count: int) -> list[range]:
    parts = min(count, 3)
    edges = [round(count * part / parts) for part in range(parts + 1)]
    return [range(low, high) for low, high in pairwise(edges)]
