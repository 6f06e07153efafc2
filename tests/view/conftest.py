"""A browser for the tests of a file, and pages of flows opened in it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from architectures import ARCHITECTURES, build, example
from browser import PATIENCE, chromium, flow_of, still_head
from five_tokens import HOSTILE
from five_tokens import TOKENS as FIVE
from ligflow import Explainer, Flow
from ligflow.view.interactive_page import page
from pages import MEAN, TOKENS, WORDS, Open

SIZE: dict[str, Any] = {"viewport": {"width": 1280, "height": 720}}
OWN = ("file:", "blob:", "data:", "about:")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def kept_page(browser: Any) -> Iterator[Any]:
    """An empty page that the tests of a file fill in turn: a new one takes most of a test's time."""
    context = browser.new_context(**SIZE)
    yield context.new_page()
    context.close()


@pytest.fixture
def opened(browser: Any, kept_page: Any, tmp_path: Path) -> Iterator[Open]:
    """Opens a page of flows; any script error, console error or request fails the test.

    The first of a test is opened in the page that is kept, others and those of other sizes in new ones.
    """
    problems: list[str] = []
    listeners = {
        "pageerror": lambda error: problems.append(f"page: {error}"),
        "console": lambda note: problems.append(note.text) if note.type == "error" else None,
        "request": lambda r: None if r.url.startswith(OWN) else problems.append(r.url),
    }
    empty, contexts = [kept_page], list[Any]()

    def new_page(context: dict[str, Any]) -> Any:
        contexts.append(browser.new_context(**SIZE | context))
        return contexts[-1].new_page()

    def call(*flows: Flow, state: str = "", view: str = "", html: str | None = None, **context: Any) -> Any:
        path = tmp_path / "page.html"
        path.write_text(html or page(flows, view=view), encoding="utf-8")
        shown = empty.pop() if empty and not context else new_page(context)
        shown.set_default_timeout(PATIENCE)
        for name, listener in listeners.items():
            shown.on(name, listener)
        shown.goto(f"{path.as_uri()}#{state}")
        return shown

    yield call
    for context in contexts:
        context.close()
    if not empty:
        kept_page.mouse.move(0, 0)
        kept_page.goto("about:blank")
        for name, listener in listeners.items():
            kept_page.remove_listener(name, listener)
    assert problems == []


@pytest.fixture(scope="module")
def deep() -> Flow:
    """Maps of four layers that can be chained; a row that stands still, a head too, a cell that is missed."""
    flow = still_head(flow_of(TOKENS, layers=4, seed=7, settings=MEAN, **WORDS))
    tensors = dict(flow.tensors)
    for name, missed in (("z2z", (1, 4)), ("u2z", (1, 4)), ("z2u", (2, 2, 4))):
        tensors[f"{name}.met"] = tensors[f"{name}.met"].clone()
        tensors[f"{name}.met"][missed] = False
        tensors[f"{name}.residue"] = tensors[f"{name}.residue"].clone()
        tensors[f"{name}.residue"][missed] = 0.3
    tensors["z2z"] = tensors["z2z"].clone()
    tensors["z2z"][2, 3] = 0
    return replace(flow, tensors=tensors)


@pytest.fixture(scope="module")
def explainer() -> Explainer:
    return Explainer(build(ARCHITECTURES["bert"]), name="tiny")


@pytest.fixture(scope="module")
def flow(explainer: Explainer) -> Flow:
    """Targets 1 and 3 of five tokens; in layer 1, source 4 gives target 3 nine tenths of its row."""
    explained = explainer.explain(example(ARCHITECTURES["bert"], tokens=5), targets=[1, 3])
    z2z = explained.z2z.clone()
    z2z[1] = torch.tensor([[6.0, -2, 2, 0, 0], [0.5, 0, 0, 0.5, 9]])
    return replace(explained, tokens=FIVE, tensors={**explained.tensors, "z2z": z2z})


@pytest.fixture(scope="module")
def hostile(explainer: Explainer) -> Flow:
    explained = explainer.explain(example(ARCHITECTURES["bert"], tokens=5))
    return replace(explained, tokens=HOSTILE, meta={**explained.meta, "text": " ".join(HOSTILE)})
