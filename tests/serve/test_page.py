"""The page of the server in a browser."""

from collections.abc import Iterator
from typing import Any

import pytest

from browser import PATIENCE, chromium


@pytest.fixture
def shown(patient: int) -> Iterator[Any]:
    """The page in a browser."""
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 720})
        page.set_default_timeout(PATIENCE)
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda note: problems.append(note.text) if note.type == "error" else None)
        page.goto(f"http://127.0.0.1:{patient}/?text=The%20cat%20sat")
        page.wait_for_selector("#explain:enabled")
        yield page
        assert problems == []


def test_the_page_goes_from_a_text_to_its_findings_and_a_trace(shown: Any) -> None:
    """Text, model and one button; Enter makes no token; the trace is computed when asked for."""
    assert shown.input_value("#text") == "The cat sat"
    visible = shown.eval_on_selector_all(
        "#form select, #form textarea, #form input",
        "all => all.filter(e => e.checkVisibility()).map(e => e.id)",
    )
    assert visible == ["text", "model"]
    assert len(shown.query_selector_all(".examples button")) == 3
    assert "Ctrl-Enter" in shown.inner_text(".buttons")
    shown.focus("#text")
    shown.keyboard.press("End")
    shown.keyboard.press("Enter")
    shown.keyboard.press("Control+Enter")
    shown.wait_for_selector(".findings li")
    assert shown.inner_text(".ligflow h1") == "The cat sat"
    assert shown.query_selector(".findings").bounding_box()["y"] < 300
    assert shown.query_selector("canvas.over").bounding_box()["y"] < 720
    assert "?text=The+cat+sat&model=" in shown.url
    shown.click('[name="tab-trace"]')
    assert "cannot be followed" in shown.inner_text(".trace p")
    shown.click(".trace button")
    shown.wait_for_selector(".trace li")
    assert "mean baseline" in shown.inner_text(".trace p.faint")
