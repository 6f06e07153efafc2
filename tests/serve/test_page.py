"""The page of the server in a browser."""

import csv
import io
import json
import threading
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from browser import PATIENCE, chromium
from ligflow.inputs.chat import Chat
from ligflow.prediction.likeliest import likeliest
from ligflow.serve.offered import Offered
from ligflow.view.answer_page import page
from ligflow.view.prediction_words import units
from served import Open, call, until

TEXT = "The capital of France is"
HOSTILE = "</script><img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as running:
        yield running


@pytest.fixture
def opened(browser: Any, patient: int) -> Iterator[Open]:
    """Opens the page of a server of two models; any script error, console error or dialog fails the test."""
    problems: list[str] = []
    context = browser.new_context(viewport={"width": 1280, "height": 720})

    def open_page(address: str) -> Any:
        shown = context.new_page()
        shown.set_default_timeout(PATIENCE)
        shown.on("pageerror", lambda error: problems.append(str(error)))
        shown.on("console", lambda note: problems.append(note.text) if note.type == "error" else None)
        shown.on("dialog", lambda dialog: problems.append(dialog.message) or dialog.dismiss())
        shown.goto(f"http://127.0.0.1:{patient}/{address}")
        shown.wait_for_selector("#why:enabled")
        return shown

    yield open_page
    context.close()
    assert problems == []


def test_the_page_goes_from_a_text_to_an_answer_by_clicks(opened: Open, speaking: Offered) -> None:
    """Text, model and two buttons; the outputs; one is clicked, then one that it is said rather than."""
    shown = opened(f"?text={quote(TEXT)}")
    assert shown.input_value("#text") == TEXT
    visible = shown.eval_on_selector_all(
        "main select, main textarea, main input, main button",
        "all => all.filter(e => e.checkVisibility() && !e.closest('#examples')).map(e => e.id)",
    )
    assert visible == ["text", "why", "layers", "model"]
    assert len(shown.query_selector_all("#examples button")) == 3
    shown.focus("#text")
    shown.keyboard.press("End")
    shown.keyboard.press("Enter")
    shown.keyboard.press("Control+Enter")
    shown.wait_for_selector("#answers button:enabled")
    outputs = likeliest(speaking.explainer.whole, TEXT)
    shares = shown.eval_on_selector_all("#answers small", "all => all.map(e => e.textContent)")
    assert [float(share.rstrip("%")) for share in shares] == pytest.approx(
        [100 * output.probability for output in outputs], abs=0.5
    )
    shown.click("#answers button >> nth=1")
    prediction = speaking.explainer.explain_prediction(TEXT, outputs[1].answer, edges="all")
    assert_shown(shown, prediction)
    first = shown.get_attribute("iframe", "src")
    shown.press("#contrasts button >> nth=2", "Enter")  # the first is: anything else
    shown.wait_for_selector(f'iframe:not([src="{first}"])')
    assert_shown(
        shown, speaking.explainer.explain_prediction(TEXT, outputs[1].answer, outputs[2].answer, edges="all")
    )
    assert f"?text={quote(TEXT).replace('%20', '+')}&model=" in shown.url


def assert_shown(shown: Any, prediction: Any) -> None:
    """The answer's page is that of the library; its numbers can be pinned and saved from within the frame."""
    shown.wait_for_selector("iframe")
    assert shown.request.get(shown.evaluate("document.querySelector('iframe').src")).text() == page(
        [prediction]
    )
    frame = shown.frame_locator("iframe")
    frame.locator(".bysize button").first.click()
    frame.locator("section.words .save summary").click()
    with shown.expect_download() as waiting:
        frame.locator("section.words .save-csv").click()
    rows = csv.DictReader(io.StringIO(Path(waiting.value.path()).read_text(encoding="utf-8")))
    by_word = [unit.relevance for unit in units(prediction)]
    assert [float(row["relevance"]) for row in rows] == pytest.approx(by_word, rel=1e-5)


def test_a_hostile_text_does_nothing(opened: Open) -> None:
    shown = opened(f"?text={quote(HOSTILE)}")
    shown.click("#why")
    shown.click("#answers button >> nth=0")
    shown.frame_locator("iframe").locator("h1").first.wait_for()
    assert shown.input_value("#text") == HOSTILE
    sandbox = shown.get_attribute("iframe", "sandbox")
    assert sandbox == "allow-scripts allow-downloads"


def test_a_chat_is_asked_and_explained(opened: Open, speaking: Offered) -> None:
    """Turns are written under More, the last one in the text; the page is that of the library."""
    turns = [{"role": "user", "content": "Paris is"}, {"role": "assistant", "content": "long"}]
    shown = opened(f"?text={quote('The river of France')}")
    shown.click("summary:has-text('More')")
    for number, turn in enumerate(turns):
        shown.click("#add-turn")
        assert shown.input_value(f".turn >> nth={number} >> select") == turn["role"]
        shown.fill(f".turn >> nth={number} >> textarea", turn["content"])
    shown.click("#why")
    shown.wait_for_selector("#answers button:enabled")
    chat = Chat([*turns, {"role": "user", "content": "The river of France"}])
    outputs = likeliest(speaking.explainer.whole, chat)
    shown.click("#answers button >> nth=2")
    assert_shown(shown, speaking.explainer.explain_prediction(chat, outputs[2].answer))
    assert [shown.input_value(f".turn >> nth={i} >> textarea") for i in (0, 1)] == ["Paris is", "long"]


def test_work_ends_when_it_is_cancelled_and_when_the_page_goes(
    opened: Open, patient: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = import_module("ligflow.prediction.chain")
    average, segments, go = module._average, [], threading.Semaphore(0)

    def held(*arguments: Any) -> Any:
        segments.append(arguments[1])
        assert go.acquire(timeout=PATIENCE / 1000)
        return average(*arguments)

    monkeypatch.setattr(module, "_average", held)
    shown = opened(f"?text={quote(TEXT)}")
    shown.click("#why")
    shown.click("#answers button >> nth=0")
    shown.wait_for_selector("#state:has-text('Segment 0 of')")
    shown.click("#cancel")
    shown.wait_for_selector("#state:has-text('Cancelling')")
    go.release()
    shown.wait_for_selector("#state:has-text('Cancelled.')")
    assert len(segments) == 1
    with shown.expect_response("**/api/why") as answer:
        shown.click("#answers button >> nth=1")
    path = f"/api/jobs/{answer.value.json()['id']}"
    shown.wait_for_selector("#state:has-text('Segment 0 of')")
    shown.goto("about:blank")
    until(lambda: json.loads(call(patient, "GET", path)[1]), lambda told: told["cancelling"])
    go.release(50)
    until(lambda: json.loads(call(patient, "GET", path)[1]), lambda told: told["state"] == "cancelled")
    assert len(segments) == 2


def test_the_page_goes_from_a_text_to_its_layers_and_a_trace(opened: Open) -> None:
    """The trace is computed when it is asked for; the model says what it can answer."""
    shown = opened("?text=The%20cat%20sat&model=embedded:minilm")
    assert "predicts no word" in shown.inner_text("#says")
    assert shown.inner_text("#why") == "Why are they similar?"
    shown.click("#layers")
    shown.wait_for_selector(".says")
    assert shown.inner_text(".ligflow h1") == "The cat sat"
    assert shown.query_selector(".says").bounding_box()["y"] < 480
    shown.click('[name="tab-trace"]')
    assert "cannot be followed" in shown.inner_text(".trace p")
    shown.click(".trace button")
    shown.wait_for_selector(".trace li")
    assert "mean baseline" in shown.inner_text(".trace p.faint")
    shown.click("#why")
    assert shown.evaluate("document.activeElement.id") == "other"
