"""Sums over spans: words, named regions, positions; what is in none is the rest, and nothing is lost."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from hand_made_prediction import prediction_of
from ligflow import LigflowError, Prediction
from ligflow.results.span_relevance import known_spans


def known(**meta: Any) -> Prediction:
    """Six tokens of relevance 0, 1, 2, -3, 4, 5 with errors .0 to .5, the first kept."""
    prediction = prediction_of()
    by_depth = prediction.by_depth.clone()
    by_depth[0] = torch.tensor([0.0, 1, 2, -3, 4, 5])
    error = torch.arange(6) / 10
    return replace(prediction, by_depth=by_depth, error=error, meta={**prediction.meta, **meta})


def test_a_mapping_of_positions_and_the_rest() -> None:
    first, second, rest = known().by({"both": [1, 2], "last": [-1, 5]})
    assert (first.name, first.positions, first.relevance) == ("both", (1, 2), 3.0)
    assert first.error == pytest.approx(0.3)
    assert (second.positions, second.relevance) == ((5,), 5.0)
    assert (rest.name, rest.positions, rest.relevance) == ("the rest", (0, 3, 4), 1.0)
    assert not rest.kept


def test_words_in_the_order_of_the_text_sum_to_the_whole() -> None:
    prediction = known(words=[0, 2, 2, 1, 1, 1], word_labels=["<s>", "b", "a"])
    assert [(w.name, w.relevance, w.kept) for w in prediction.by("words")] == [
        ("<s>", 0.0, True), ("a", 3.0, False), ("b", 6.0, False),
    ]  # fmt: skip


def test_regions_that_the_prediction_knows_may_be_called_alike() -> None:
    prediction = known(spans={"turns": [["user", [0, 1]], ["assistant", [2]], ["user", [3, 4, 5]]]})
    assert known_spans(prediction) == ["turns"]
    assert [(turn.name, turn.relevance) for turn in prediction.by("turns")] == [
        ("user", 1.0), ("assistant", 2.0), ("user", 6.0),
    ]  # fmt: skip


def test_unknown_names_and_positions_are_refused() -> None:
    with pytest.raises(LigflowError, match=r"knows no 'passages' \(it knows: none\); give a mapping"):
        known().by("passages")
    for name in (5, None, [("it", [1])]):
        with pytest.raises(LigflowError, match=r"knows no .*; give a mapping of names to positions"):
            known().by(name)  # type: ignore[arg-type]
    for place in (3, "12"):
        with pytest.raises(LigflowError, match=r"Span 'it' is .*; give the positions of its tokens"):
            known().by({"it": place})  # type: ignore[dict-item]
    for wrong in (6, -7, 1.0, "1", True):
        with pytest.raises(LigflowError, match="positions are whole numbers from 0 to 5"):
            known().by({"it": [wrong]})
