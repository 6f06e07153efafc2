"""The notebook widget: the viewer in a page with a model as a notebook has one."""

import base64
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from browser import PATIENCE, chromium, flow_of
from ligflow import Flow, LigflowError
from ligflow.view.interactive_page import module, style
from ligflow.view.payload import pack

TOKENS = ["[CLS]", "the", "light", "[SEP]"]
HOST = """<!doctype html><meta charset="utf-8"><style>%s</style><div id="out"></div><script type="module">
const files = %s.map((text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0)));
const traits = { files: files.map((one) => new DataView(one.buffer)), names: ["flow 1"], view: "map=h1&layer=0&pin=", selection: {} };
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


@pytest.fixture
def shown(flow: Flow, tmp_path: Path) -> Iterator[Any]:
    data = json.dumps([base64.b64encode(pack(flow)).decode()])
    code = json.dumps(module()).replace("</", "<\\/")
    (tmp_path / "host.html").write_text(HOST % (style(), data, code), encoding="utf-8")
    with chromium() as browser:
        page = browser.new_page()
        page.set_default_timeout(PATIENCE)
        page.goto((tmp_path / "host.html").as_uri())
        page.wait_for_selector(".ligflow h2")
        yield page


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
