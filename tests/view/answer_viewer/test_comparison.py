"""Two predictions side by side: aligned words, both sums, and their difference, by the tensors."""

import csv
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hand_made_prediction import CAPITAL, prediction_of
from ligflow import Prediction
from ligflow.view.answer_page import page
from pages import Open, lines, state_of

LONGER = [*CAPITAL[:3], " city", *CAPITAL[3:]]


@pytest.fixture(scope="module")
def first() -> Prediction:
    return prediction_of()


@pytest.fixture(scope="module")
def second() -> Prediction:
    """Of another answer and a text with one word more."""
    made = prediction_of(LONGER, change=5.0, seed=4)
    return replace(made, meta={**made.meta, "question": " Rome"})


def table(shown: Any) -> list[dict[str, str]]:
    section = shown.locator("section.comparison")
    section.locator(".save summary").click()
    with shown.expect_download() as waiting:
        section.locator(".save-csv").click()
    return list(csv.DictReader(io.StringIO(Path(waiting.value.path()).read_text(encoding="utf-8"))))


def numbers(rows: list[dict[str, str]], title: str) -> list[float]:
    return [float(row[title]) for row in rows if row[title]]


def test_words_are_aligned_and_differ_by_the_difference(
    opened: Open, first: Prediction, second: Prediction
) -> None:
    shown = opened(html=page([first, second]))
    rows = table(shown)
    assert [row["word"] for row in rows] == ["The", "capital", "city", "of", "France", "is"]
    assert rows[2]["position"] == ""
    assert rows[2]["relevance"] == ""
    ours, theirs = first.relevance.numpy()[1:], second.relevance.numpy()[1:]
    np.testing.assert_allclose(numbers(rows, "relevance"), ours, rtol=1e-5)
    np.testing.assert_allclose(numbers(rows, "relevance beside"), theirs, rtol=1e-5)
    gaps = np.insert(ours, 2, 0) - theirs
    np.testing.assert_allclose(numbers(rows, "difference"), gaps, rtol=1e-4, atol=1e-6)
    said = shown.inner_text("section.comparison .caption")
    assert "Each adds up by itself: +8.00 of a change of +8.00; +5.00 of a change of +5.00." in said
    assert "The differences add up to +3.00" in said
    assert "The texts differ; words are aligned." in said
    order = [rows[i]["word"] for i in np.argsort(-np.abs(gaps), kind="stable")]
    assert lines(shown, ".compared-words .row .name") == order


def test_a_word_is_pinned_in_every_view_and_one_of_the_other_alone_is_not(
    opened: Open, first: Prediction, second: Prediction
) -> None:
    shown = opened(html=page([first, second]))
    shown.focus(".compared-words button.row:has-text('France')")
    shown.keyboard.press("Enter")
    assert state_of(shown) == "word=4"
    for view in (".compared-words", ".bysize", ".running"):
        assert lines(shown, f"{view} .marked")[0].startswith("France")
    assert shown.is_disabled(".compared-words button.row:has-text('city')")


def test_scores_of_other_units_have_no_difference_and_which_is_beside_is_chosen(
    opened: Open, first: Prediction, second: Prediction
) -> None:
    settings = {**second.meta["settings"], "score": "logit"}
    logit = replace(second, meta={**second.meta, "question": " Oslo", "settings": settings})
    shown = opened(html=page([first, second, logit]), state="beside=2")
    said = shown.inner_text("section.comparison .caption")
    assert "No difference is taken: one shares out a log-probability, the other a logit." in said
    assert numbers(table(shown), "difference") == []
    shown.click("section.comparison .choices button:has-text('Rome')")
    assert state_of(shown) == "beside=1"
    assert "The differences add up to +3.00" in shown.inner_text("section.comparison .caption")
    alone = opened(html=page([first]))
    assert alone.is_hidden("section.comparison")
