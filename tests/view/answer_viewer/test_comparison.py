"""Two predictions side by side: aligned words, both sums, and their difference, by the tensors."""

import csv
import io
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hand_made_prediction import CAPITAL, prediction_of
from ligflow import Prediction
from ligflow.view.answer_page import page
from pages import HOSTILE, Open, lines, state_of

LONGER = [*CAPITAL[:3], " city", *CAPITAL[3:]]


@pytest.fixture(scope="module")
def first() -> Prediction:
    return prediction_of()


@pytest.fixture(scope="module")
def second() -> Prediction:
    """Of another answer and a text with one word more."""
    made = prediction_of(LONGER, change=5.0, seed=4)
    return replace(made, meta={**made.meta, "question": " Rome"})


def picture(shown: Any, view: str) -> str:
    section = shown.locator(f"section.{view}")
    section.locator(".save summary").click()
    with shown.expect_download() as waiting:
        section.locator(".save-svg").click()
    return Path(waiting.value.path()).read_text(encoding="utf-8")


def table(shown: Any, view: str = "comparison") -> list[dict[str, str]]:
    section = shown.locator(f"section.{view}")
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


def of_parts(prediction: Prediction) -> np.ndarray:
    """What heads and MLPs contribute at all tokens together, by layer."""
    return np.array(
        [
            [*prediction.heads[layer].sum(-1).tolist(), float(prediction.mlps[layer].sum())]
            for layer in range(3)
        ]
    )


def test_heads_and_words_over_depth_of_both_are_those_of_the_tensors(
    opened: Open, first: Prediction, second: Prediction
) -> None:
    shown = opened(html=page([first, second]))
    rows = table(shown, "compared-heads")
    assert [(row["layer"], row["part"]) for row in rows] == [
        (f"{layer}", part) for layer in range(3) for part in ("h0", "h1", "MLP")
    ]
    ours, theirs = of_parts(first).flatten(), of_parts(second).flatten()
    np.testing.assert_allclose(numbers(rows, "relevance"), ours, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(numbers(rows, "relevance beside"), theirs, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(numbers(rows, "difference"), ours - theirs, rtol=1e-4, atol=1e-5)
    gaps = np.abs(of_parts(first) - of_parts(second))
    layer, head = divmod(int(gaps[:, :2].argmax()), 2)
    said = shown.inner_text("section.compared-heads .caption")
    assert f"Most apart: layer {layer}, h{head} (" in said
    assert f"; layer {int(gaps[:, 2].argmax())}, MLP (" in said

    rows = table(shown, "compared-depths")
    depths = len(first.cuts)
    assert [row["word"] for row in rows] == [word.strip() for word in LONGER] * depths
    longer = np.insert(first.by_depth.numpy(), 3, 0, axis=-1).flatten()
    beside = second.by_depth.numpy().flatten()
    np.testing.assert_allclose([float(row["relevance"] or 0) for row in rows], longer, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(numbers(rows, "relevance beside"), beside, rtol=1e-5, atol=1e-6)
    gaps = np.array(numbers(rows, "difference")).reshape(depths, -1)
    np.testing.assert_allclose(gaps.flatten(), longer - beside, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(gaps.sum(-1), 3.0, rtol=1e-4)
    said = shown.inner_text("section.compared-depths .caption")
    assert "each row adds up to +8.00 here and +5.00 beside" in said


def test_a_head_of_the_one_beside_is_pinned_in_both(
    opened: Open, first: Prediction, second: Prediction
) -> None:
    shown = opened(html=page([first, second]))
    over = shown.locator("section.compared-heads canvas.over").nth(1)
    over.scroll_into_view_if_needed()
    over.hover(position={"x": 66 + 60, "y": 8 + 15 + 7})  # the second head of the layer in the middle
    ours, theirs = of_parts(first)[1, 1], of_parts(second)[1, 1]
    tip = shown.inner_text(".tip")
    assert "layer 1, h1" in tip
    for name, value in (("Paris", ours), ("Rome", theirs), ("difference", ours - theirs)):
        said = next(line for line in tip.splitlines() if line.startswith(name)).split(": ")[-1]
        assert float(said.replace("\N{MINUS SIGN}", "-")) == pytest.approx(value, rel=5e-3)
    over.click(position={"x": 66 + 60, "y": 8 + 15 + 7})
    assert state_of(shown) == "layer=1&head=1"
    shown.keyboard.press("ArrowRight")
    assert state_of(shown) == "layer=1&head=mlp"
    depths = shown.locator("section.compared-depths canvas.over").nth(0)
    depths.click(position={"x": 66 + 2.5 * 40, "y": 8 + 7})
    assert state_of(shown) == "word=2"


def test_models_of_other_shapes_have_both_pictures_and_no_difference(opened: Open, first: Prediction) -> None:
    other = prediction_of(layers=2)
    shown = opened(html=page([first, replace(other, meta={**other.meta, "model": "of two layers"})]))
    for view, said in (
        ("compared-heads", "the one has 3 layers of 3 parts (heads, MLP), the other 2 layers of 3"),
        ("compared-depths", "the one is read at 5 depths, the other at 4"),
    ):
        assert f"No difference is taken: {said}" in shown.inner_text(f"section.{view} .caption")
        assert shown.locator(f"section.{view} .three > div:visible").count() == 2
        rows = table(shown, view)
        assert numbers(rows, "difference") == []
        assert len(numbers(rows, "relevance beside")) == (6 if "heads" in view else 4 * len(CAPITAL))


def test_the_flows_of_both_are_those_of_each_alone(opened: Open) -> None:
    """What is pinned in the one isolates the same word in the other; their layers need not be as many."""
    first = prediction_of(edges=range(3))
    other = prediction_of(LONGER, layers=2, edges=range(2), change=5.0, seed=4)
    both = [first, replace(other, meta={**other.meta, "question": " Rome"})]
    shown = opened(html=page(both), state="flow=100&word=4")
    rows = table(shown, "compared-flows")
    assert [*dict.fromkeys(row["prediction"] for row in rows)] == ["Paris", "Rome"]
    assert "100% of the mass" in shown.inner_text("section.compared-flows .caption")
    assert shown.locator("section.compared-flows canvas:visible").count() == 2
    for number, (name, word) in enumerate((("Paris", 4), ("Rome", 5))):
        alone = opened(html=page(both), state=f"prediction={number}&flow=100&word={word}")
        own = [
            {key: value for key, value in row.items() if key != "prediction"}
            for row in rows
            if row["prediction"] == name
        ]
        assert own == table(alone, "flow")
        read = sum(float(row["relevance"]) for row in own if row["kind"] == "read by a head")
        edges = [both[number].stored_edges[layer] for layer in both[number].stored_edges]
        assert read == pytest.approx(sum(float(each.double().sum()) for each in edges), rel=1e-4)


def test_hostile_words_and_names_are_text_in_the_pictures_of_both(opened: Open) -> None:
    both = [prediction_of([*HOSTILE, " is"], kept=[], edges=range(3), seed=seed) for seed in (0, 1)]
    both = [replace(each, meta={**each.meta, "question": HOSTILE[1], "model": HOSTILE[0]}) for each in both]
    shown = opened(html=page(both, [HOSTILE[1], HOSTILE[0]]))
    for view in ("compared-depths", "compared-heads", "compared-flows"):
        svg = picture(shown, view)
        ET.fromstring(svg)
        assert not re.search("<script|<img", svg)
        assert "rect" in svg
        assert HOSTILE[1] in shown.text_content(f"section.{view} .three")
    assert shown.evaluate("window.hacked") is None
    assert shown.query_selector("body img, body b:not(section *)") is None
