"""A browser for the tests of a file, and pages of flows opened in it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from browser import chromium
from ligflow import Flow
from ligflow.view.interactive_page import page
from pages import Open


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as running:
        yield running


@pytest.fixture
def opened(browser: Any, tmp_path: Path) -> Iterator[Open]:
    """Opens a page of flows; any script error, console error or request fails the test."""
    problems: list[str] = []
    contexts = []

    def call(*flows: Flow, state: str = "", view: str = "", html: str | None = None, **context: Any) -> Any:
        path = tmp_path / "page.html"
        path.write_text(html or page(flows, view=view), encoding="utf-8")
        contexts.append(browser.new_context(**{"viewport": {"width": 1280, "height": 720}} | context))
        shown = contexts[-1].new_page()
        shown.on("pageerror", lambda error: problems.append(f"page: {error}"))
        shown.on("console", lambda note: problems.append(note.text) if note.type == "error" else None)
        shown.on(
            "request",
            lambda r: None if r.url.startswith(("file:", "blob:", "data:")) else problems.append(r.url),
        )
        shown.goto(f"{path.as_uri()}#{state}")
        return shown

    yield call
    for context in contexts:
        context.close()
    assert problems == []
