"""The notebook widgets: each viewer in a page with a model as a notebook has one."""

import base64
import json
import sys
from collections.abc import Iterator
from typing import Any

import IPython.display
import pytest
import rich.console
import rich.jupyter

from browser import PATIENCE, chromium, flow_of
from hand_made_prediction import answer_of, prediction_of
from ligflow import Flow, LigflowError
from ligflow.view import answer_page, interactive_page
from ligflow.view.payload import pack

TOKENS = ["[CLS]", "the", "light", "[SEP]"]
HOST = """<!doctype html><meta charset="utf-8"><style>%s</style><div id="out"></div><script type="module">
const files = %s.map((text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0)));
const traits = { files: files.map((one) => new DataView(one.buffer)), names: %s, view: "map=h1&layer=0&pin=", selection: {} };
window.saved = 0;
window.traits = traits;
const model = { get: (name) => traits[name], set: (name, value) => { traits[name] = value; }, save_changes: () => { window.saved += 1; } };
const source = new Blob([%s], { type: "text/javascript" });
const widget = (await import(URL.createObjectURL(source))).default;
window.stop = widget.render({ model, el: document.querySelector("#out") });
</script>"""  # noqa: E501


@pytest.fixture(scope="module")
def flow() -> Flow:
    return flow_of(TOKENS)


@pytest.fixture(scope="module")
def hosted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Opens a widget of files in a page of its own; it may fetch nothing."""
    asked: list[str] = []

    def call(code: str, css: str, files: list[bytes], names: list[str]) -> Any:
        data = json.dumps([base64.b64encode(file).decode() for file in files])
        host = tmp_path_factory.mktemp("notebook") / "host.html"
        text = HOST % (css, data, json.dumps(names), json.dumps(code).replace("</", "<\\/"))
        host.write_text(text, encoding="utf-8")
        page = browser.new_page()
        page.set_default_timeout(PATIENCE)
        page.on("request", lambda r: None if r.url.startswith(("file:", "blob:")) else asked.append(r.url))
        page.goto(host.as_uri())
        return page

    with chromium() as browser:
        yield call
    assert asked == []


@pytest.fixture
def shown(flow: Flow, hosted: Any) -> Any:
    page = hosted(interactive_page.module(), interactive_page.style(), [pack(flow)], ["flow 1"])
    page.wait_for_selector(".ligflow h2")
    return page


def test_the_widget_shows_the_flow_and_tells_what_is_pinned(shown: Any) -> None:
    assert shown.inner_text("h2") == "Layer 0: what head 1 reads"
    shown.focus("canvas.over")
    shown.keyboard.press("ArrowDown")
    shown.keyboard.press("ArrowDown")
    found = shown.evaluate("window.traits.selection")
    assert (found["side"], found["tokens"], found["label"], found["map"]) == ("target", [1], "the", "h1")
    assert shown.evaluate("window.saved") >= 2
    assert "#" not in shown.url
    shown.evaluate("window.stop()")
    assert shown.inner_html("#out") == ""


def test_a_flow_shows_itself_as_a_widget(flow: Flow) -> None:
    widget = flow.show(flow, view="map=composed")
    assert widget.selection == {}
    state = widget.get_state()
    assert state["files"] == [pack(flow), pack(flow)]
    assert state["view"] == "map=composed"
    assert "export function mount" in str(state["_esm"])
    assert ".ligflow" in str(state["_css"])


def test_a_missing_anywidget_is_named(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "anywidget", None)
    with pytest.raises(LigflowError, match=r"pip install 'ligflow\[notebook\]'"):
        flow.show()


def test_a_prediction_shows_its_page_in_a_notebook_and_words_elsewhere(
    hosted: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    displayed: list[Any] = []
    monkeypatch.setattr(IPython.display, "display", displayed.append)
    prediction, answer = prediction_of(edges=range(3)), answer_of()
    for made in (prediction, answer):
        made.show()
        assert "the tokens add up to" in capsys.readouterr().out
    monkeypatch.setattr(rich.console, "_is_jupyter", lambda: True)
    for made in (prediction, answer):
        made.show()
    assert capsys.readouterr().out == ""
    states = [widget.get_state() for widget in displayed]
    assert [(state["names"], state["files"]) for state in states] == [
        tuple([*each] for each in zip(*answer_page.packed([rows]), strict=True))
        for rows in ((prediction,), answer.rows)
    ]
    page = hosted(str(states[0]["_esm"]), str(states[0]["_css"]), states[0]["files"], states[0]["names"])
    assert page.inner_text("h1").startswith("The model says ‘Paris’")
    page.click(".running span:has-text('France')")
    assert "what goes through ‘France’" in page.inner_text("section.flow .caption")
    assert "#" not in page.url
    page.evaluate("window.stop()")
    assert page.inner_html("#out") == ""


def test_without_anywidget_a_notebook_has_the_words_and_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said: list[str] = []
    monkeypatch.setattr(rich.console, "_is_jupyter", lambda: True)
    monkeypatch.setattr(rich.jupyter, "display", lambda segments, text: said.append(text))
    monkeypatch.setitem(sys.modules, "anywidget", None)
    prediction_of().show()
    assert "pip install 'ligflow[notebook]'" in capsys.readouterr().out
    assert "the tokens add up to +8 of +8" in said[0]
