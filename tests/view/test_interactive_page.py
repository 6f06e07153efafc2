"""The page as one file: text from outside, nothing from the network, sizes, themes, its view."""

import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from browser import PATIENCE, flow_of
from ligflow import Flow, view
from ligflow.view.interactive_page import module, page
from pages import (
    HOSTILE,
    MEAN,
    SELECTED,
    TOKENS,
    WORDS,
    Open,
    chosen,
    close,
    exported,
    map_of,
    state_of,
    table,
)


@pytest.fixture(scope="module")
def flow() -> Flow:
    return flow_of(TOKENS, **WORDS)


def test_token_text_is_shown_and_never_run(opened: Open) -> None:
    hostile = flow_of(HOSTILE, text="".join(HOSTILE), notes=HOSTILE[:2], model=HOSTILE[0])
    shown = opened(hostile, state="map=composed&pin=t1&layer=1&special=0")
    assert shown.evaluate("window.hacked") is None
    assert shown.query_selector("body img") is None
    assert "<script>window.hacked=1</script>" in shown.inner_text("h1")
    assert "</script><img src=x" in shown.inner_text(".details")
    svg = exported(shown, "svg")
    ET.fromstring(svg)
    assert "<script" not in svg
    assert "<img" not in svg
    rows = table(shown)
    assert [row["source_label"] for row in rows[: len(HOSTILE)]] == [
        *HOSTILE[:5], "a\\u202eb", "\\x1b[31m\\x00", "=1+1"
    ]  # fmt: skip
    assert shown.evaluate("window.hacked") is None


def test_the_page_asks_nothing_of_any_network(flow: Flow) -> None:
    html = page([flow])
    assert "default-src 'none'" in html
    outside = re.findall(r"(?:src|href)=[\"']?(?!data:)[a-z]+:", html.split('<script type="module">')[0])
    assert outside == []


VIEWER = Path(view.__file__).parent / "viewer"


def test_the_files_of_the_viewer_are_modules_that_import_all_they_use(
    browser: Any, opened: Open, deep: Flow
) -> None:
    """Each file imports what it uses: apart they draw the same as in a row."""
    whole = page([deep])
    apart = whole.replace(module(), 'import { mount } from "./viewer.js";\n')
    apart = apart.replace("script-src", "script-src http://viewer.test")
    problems: list[str] = []

    def serve(route: Any) -> None:
        name = route.request.url.rsplit("/", 1)[1].split("#")[0]
        body = (VIEWER / name).read_text(encoding="utf-8") if name else apart
        route.fulfill(body=body, content_type="text/javascript" if name else "text/html")

    state = "map=composed&layer=3&pin=t4"
    context = browser.new_context(viewport={"width": 1280, "height": 720})
    context.route("http://viewer.test/**", serve)
    shown = context.new_page()
    shown.set_default_timeout(PATIENCE)
    shown.on("pageerror", lambda error: problems.append(str(error)))
    shown.goto(f"http://viewer.test/#{state}")
    shown.wait_for_selector(".says")
    together = opened(html=whole, state=state)
    for kind in ("svg", "csv"):
        assert exported(shown, kind) == exported(together, kind)
    context.close()
    assert problems == []


# --- sizes, themes --------------------------------------------------------------------------------


def test_512_tokens(opened: Open) -> None:
    large = flow_of([f"w{n}" for n in range(512)], layers=1, heads=2)
    shown = opened(large, state="map=composed&filter=mass&amount=50&special=0")
    assert "certified" in shown.inner_text("main .badge")
    close(map_of(shown), large.composed()[0])
    assert shown.get_attribute(SELECTED, "name") == "tab-text"
    svg = exported(shown, "svg")
    assert "data:image/png" in svg
    assert len(svg) < 3e6


def test_80_layers(opened: Open) -> None:
    deep = flow_of(TOKENS, layers=80, heads=4)
    shown = opened(deep, state="layer=79&map=h3&special=0")
    close(map_of(shown), deep.z2u[79, 3])
    assert len(shown.query_selector_all(".overview tbody tr")) == 80


@pytest.mark.parametrize(("width", "height"), [(1280, 720), (390, 844), (1920, 1080)])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_size_and_theme(opened: Open, flow: Flow, width: int, height: int, scheme: str) -> None:
    traced = replace(flow, meta={**flow.meta, "settings": MEAN})
    shown = opened(traced, traced, viewport={"width": width, "height": height}, color_scheme=scheme)
    paper = shown.eval_on_selector("body", "e => getComputedStyle(e).backgroundColor")
    assert paper == {"light": "rgb(255, 255, 255)", "dark": "rgb(22, 25, 31)"}[scheme]
    assert shown.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    shown.goto(f"{shown.url.split('#')[0]}#map=z2z&layer=1&trace=1&pin=t1")
    assert shown.is_visible(".trace canvas")
    assert shown.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    other = {"light": "dark", "dark": "light"}[scheme]
    shown.click('[name="more"]')
    shown.select_option('[name="theme"]', other)
    assert shown.eval_on_selector("body", "e => getComputedStyle(e).backgroundColor") != paper


def test_a_picture_is_exported(opened: Open, flow: Flow) -> None:
    shown = opened(flow)
    with shown.expect_download() as waiting:
        shown.click(".export-png")
    data = Path(waiting.value.path()).read_bytes()
    assert data.startswith(b"\x89PNG")
    assert len(data) > 10_000


def test_a_page_can_be_opened_at_a_view(opened: Open, flow: Flow) -> None:
    shown = opened(flow, view="layer=1&map=h2&words=1")
    assert (chosen(shown, "layer"), chosen(shown, "map")) == ("1", "h2")
    shown.select_option('[name="layer"]', "0")
    assert state_of(shown) == "layer=0"
    assert chosen(shown, "special").lower() == "true"
