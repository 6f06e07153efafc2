"""Relevance summed over words, sentences, passages, turns or regions of a prediction's tokens."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ligflow.errors import LigflowError
from ligflow.results.prediction_data import PredictionData

Spans = str | Mapping[str, Iterable[int]]
REST = "the rest"


@dataclass(frozen=True)
class SpanRelevance:
    """What the tokens at `positions` contribute together.

    `error` is the sum of their estimated errors; `kept` tells that all of them are the same in both runs.
    """

    name: str
    positions: tuple[int, ...]
    relevance: float
    error: float
    kept: bool


def by(prediction: PredictionData, spans: Spans) -> list[SpanRelevance]:
    """Sums `Σ_k R[k]` over spans of tokens, and over `the rest`, which is in none of them.

    `spans` is a name, `words` or one that the prediction knows (`sentences`, `turns`, ...), or a mapping of
    names to positions. Spans may overlap; what two share is in both.

    Raises LigflowError for a name that the prediction does not know, and for a position that it has not.
    """
    count = len(prediction.tokens)
    named = [
        (name, tuple(dict.fromkeys(_places(name, places, count))))
        for name, places in _spans(prediction, spans)
    ]
    inside = {place for _, places in named for place in places}
    left = tuple(place for place in range(count) if place not in inside)
    return [_sum(prediction, name, places) for name, places in [*named, *[(REST, left)] * bool(left)]]


def known_spans(prediction: PredictionData) -> list[str]:
    """The names that `by` knows for this prediction."""
    words = ["words"] if prediction.meta.get("words") is not None else []
    return [*words, *prediction.meta.get("spans", {})]


def _spans(prediction: PredictionData, spans: Spans) -> list[tuple[str, Iterable[int]]]:
    if isinstance(spans, Mapping):
        return [(str(name), places) for name, places in spans.items()]
    if not isinstance(spans, str) or spans not in known_spans(prediction):
        known = ", ".join(known_spans(prediction)) or "none"
        raise LigflowError(
            f"This prediction knows no {spans!r} (it knows: {known}); give a mapping of names to positions."
        )
    if spans == "words":
        return _words(prediction)
    return [(name, places) for name, places in prediction.meta["spans"][spans]]


def _words(prediction: PredictionData) -> list[tuple[str, Iterable[int]]]:
    """Each word with its tokens, in the order of the text."""
    places: dict[int, list[int]] = {}
    for token, word in enumerate(prediction.meta["words"]):
        places.setdefault(word, []).append(token)
    return [(prediction.meta["word_labels"][word], tokens) for word, tokens in places.items()]


def _places(name: str, places: Any, count: int) -> Iterator[int]:
    """Positions counted from the front."""
    if isinstance(places, str) or not isinstance(places, Iterable):
        raise LigflowError(
            f"Span {name!r} is {places!r}; give the positions of its tokens: {{name: [0, 1]}}."
        )
    for place in places:
        whole = isinstance(place, int) and not isinstance(place, bool)
        if not whole or not -count <= place < count:
            raise LigflowError(
                f"Span {name!r} holds {place!r}, and positions are whole numbers from 0 to {count - 1}."
            )
        yield place % count


def _sum(prediction: PredictionData, name: str, places: tuple[int, ...]) -> SpanRelevance:
    at = list(places)
    relevance, error = prediction.relevance[at].double().sum(), prediction.error[at].double().sum()
    kept = bool(at) and all(prediction.kept[place] for place in at)
    return SpanRelevance(name, places, float(relevance), float(error), kept)
