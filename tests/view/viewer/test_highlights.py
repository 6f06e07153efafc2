"""What the page opens with: the findings of Python, in the same words."""

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from browser import flow_of, still_head
from ligflow import Flow
from ligflow.view.highlights import highlights, sentences
from ligflow.view.interactive_page import module, page
from pages import TOKENS, WORDS, Open, chosen, close, lines, state_of, table


@pytest.fixture(scope="module")
def flow() -> Flow:
    return flow_of(TOKENS, **WORDS)


HIGHLIGHTS = """async (module) => {
  const m = await import(URL.createObjectURL(new Blob([module], { type: "text/javascript" })));
  const flows = [...document.querySelectorAll("script.flow")].map((one) => m.openFlow(m.fromBase64(one.textContent.trim()), "x"));
  return flows.map((flow) => {
    const start = m.opened([flow], "");
    const { findings, about } = m.highlights(flow, start, start.pin);
    const lens = m.lensOf(flow, start);
    return { map: start.map, layer: start.layer, pin: start.pin, sinks: lens.hidden.sinks,
      words: [...findings.map((one) => one.parts), ...(about.length ? [about] : [])].map(m.plain) };
  });
}"""  # noqa: E501


def causal(seed: int, sink: float = 0.0, at: int = 0, **options: Any) -> Flow:
    """A decoder's flow: no cell after its target; a token may hold most of every row that sees it."""
    made = flow_of(["The", " capital", " of", " France", ",", " is", "\n"], layers=3, seed=seed, **options)
    past = torch.ones(7, 7, dtype=torch.bool).tril(-1)
    tensors = {name: made.tensors[name] * past for name in ("z2u", "z2z") if name in made.tensors}
    for values in tensors.values():
        values[..., at + 1 :, at] += sink
    return replace(made, tensors=made.tensors | tensors)


def tied() -> Flow:
    """Equal shares: the lower layer is said, the lower source first, and no head has half."""
    made = flow_of(TOKENS)
    even = {name: torch.ones_like(made.tensors[name]) for name in ("z2u", "u2z", "u2z_residual")}
    return replace(made, tensors=made.tensors | even)


def various() -> list[Flow]:
    """Flows in which every rule of the highlights has a part."""
    made = flow_of(TOKENS, layers=3, seed=3)
    quiet = {name: made.tensors[name].clone() for name in ("z2u", "z2z")}
    for values in quiet.values():
        values[..., 0, :] = 0
    positive = {name: made.tensors[name].abs() for name in ("z2u", "u2z")}
    negative = replace(
        made, tensors=made.tensors | {"z2u": -made.tensors["z2u"], "u2z": -made.tensors["u2z"]}
    )
    marks = ["[CLS]", "the", ",", "the", "…", "€", "[SEP]"]
    return [
        made, still_head(made), negative, replace(made, tensors=made.tensors | quiet),
        replace(made, tensors=made.tensors | positive),
        flow_of(marks, layers=2, seed=4), flow_of(marks, targets=[1, 3], seed=5), flow_of(TOKENS[:2]),
        causal(6), causal(7, sink=50.0), causal(8, sink=50.0, targets=[*range(7)], heads=1),
        causal(9, sink=25.0, at=2), causal(10, heads=8), flow_of(TOKENS, layers=2, heads=9, seed=11), tied(),
        *(flow_of(TOKENS, routes=(route,), seed=9) for route in ("z2u", "u2z", "z2z")),
        flow_of(TOKENS, **WORDS).merge_words(), flow_of(["[CLS]", "[SEP]"]),
    ]  # fmt: skip


def test_the_page_opens_with_the_findings_of_python(opened: Open) -> None:
    """Map, layer, target, hidden tokens and sentences are those of `highlights`."""
    flows = various()
    html = page(flows).replace("script-src 'unsafe-inline'", "script-src 'unsafe-inline' blob:")
    for flow, found in zip(flows, opened(html=html).evaluate(HIGHLIGHTS, module()), strict=True):
        known = highlights(flow)
        assert found["map"] == {"conserving": "composed"}.get(known.view, known.view)
        assert (found["layer"], found["pin"]) == (known.layer, f"t{known.target}")
        assert found["sinks"] == [*known.sinks]
        assert found["words"] == [*sentences(flow, known)]


def test_the_first_screen_says_what_it_found_and_a_click_goes_there(opened: Open) -> None:
    flow = causal(7, sink=50.0)
    known = highlights(flow)
    shown = opened(flow)
    assert shown.inner_text("h2") == f"Layer {known.layer}: token to token, through the heads"
    said = [re.sub("[‘’]", "", line) for line in sentences(flow, known)]
    assert lines(shown, ".findings li") == said[:-1]
    assert shown.inner_text(".about") == said[-1]
    row = flow.composed()[flow.row(known.layer), known.target].abs()
    hidden = float(row[0] / row.sum())
    assert shown.inner_text(".kept").startswith("the first token hidden; it holds ")
    assert float(shown.inner_text(".kept").split("holds ")[1].split("%")[0]) == pytest.approx(
        100 * hidden, abs=0.5
    )
    assert shown.inner_text(".kept").endswith("of this row; percentages are of the rest")
    assert state_of(shown) == ""
    shown.select_option('[name="map"]', "h1")
    shown.click(".findings li:nth-child(2) button")
    assert chosen(shown, "map") == "composed"
    assert chosen(shown, "layer") == str(known.findings[1].layer)


def test_shares_are_of_the_sources_that_are_shown(opened: Open, flow: Flow) -> None:
    shown = opened(flow, state="map=z2z&layer=0&pin=t4")
    kept = flow.z2z[0, 4, 1:5]
    best = int(kept.abs().argmax())
    share = f"{100 * float(kept[best] / kept.abs().sum()):.0f}%"
    assert f"‘keeper’ is moved by ‘{TOKENS[1 + best]}’ {share}" in shown.inner_text(".details")


def test_a_long_text_is_read_as_text(opened: Open) -> None:
    tokens = [f"w{n}" for n in range(90)]
    shown = opened(flow_of(tokens, layers=1, heads=1), state="map=z2z&pin=t7")
    assert shown.inner_text(".running") == " ".join(tokens)
    row = flow_of(tokens, layers=1, heads=1).z2z[0, 7].numpy()
    strongest = int(np.abs(row).argmax())
    fills = shown.eval_on_selector_all(".running .token", "all => all.map(e => e.style.background)")
    assert fills[strongest] == ("rgb(33, 102, 172)" if row[strongest] > 0 else "rgb(217, 95, 14)")
    assert lines(shown, ".running .marked") == ["w7"]
    shown.click(".running .token:nth-of-type(4)")
    assert "pin=t3" in state_of(shown)
    shown.focus(".running")
    shown.keyboard.press("ArrowRight")
    assert "pin=t4" in state_of(shown)


def test_tab_passes_the_thumbnails_and_arrows_go_through_them(opened: Open, flow: Flow) -> None:
    shown = opened(flow, state="map=composed&layer=0")
    assert (
        shown.eval_on_selector_all(".overview td button", "all => all.filter(e => e.tabIndex === 0).length")
        == 1
    )
    shown.focus(".skip")
    shown.keyboard.press("Tab")
    for key in ("ArrowRight", "ArrowDown"):
        shown.keyboard.press(key)
    shown.keyboard.press("Enter")
    assert (chosen(shown, "map"), chosen(shown, "layer")) == ("z2z", "1")
    shown.keyboard.press("Tab")
    assert not shown.evaluate("document.activeElement.closest('.overview')")
    shown.focus(".skip")
    shown.keyboard.press("Enter")
    assert shown.evaluate("document.activeElement.className") == "over"


@pytest.mark.parametrize(("width", "heads"), [(1280, 12), (1280, 40), (390, 12)])
def test_every_head_is_in_sight(opened: Open, width: int, heads: int) -> None:
    shown = opened(flow_of(TOKENS, heads=heads), viewport={"width": width, "height": 844})
    shown.locator(".overview").scroll_into_view_if_needed()
    boxes = [one.bounding_box() for one in shown.query_selector_all(".overview tr:nth-child(1) td button")]
    assert len(boxes) == heads + 2
    assert max(box["x"] + box["width"] for box in boxes) <= width
    assert {round(box["width"]) for box in boxes} == {24}


def test_two_texts_are_told_apart_and_their_difference_is_drawn(opened: Open) -> None:
    one = flow_of(["[CLS]", "a", "quick", "brown", "fox", "[SEP]"], seed=1)
    two = flow_of(["[CLS]", "a", "slow", "brown", "old", "fox", "[SEP]"], seed=2)
    shown = opened(one, two, state="map=z2z&layer=1&special=0&colour=value&beside=1&pin=t4")
    last = [row for row in table(shown) if " minus " in row["flow"]]
    assert {row["target_label"] for row in last} == {"[CLS]", "a", "quick / slow", "brown", "fox", "[SEP]"}
    ours, theirs = [0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 5, 6]
    known = one.z2z[1][ours][:, ours] - two.z2z[1][theirs][:, theirs]
    close(np.array([float(row["value"]) for row in last]).reshape(6, 6), known)
    words = lines(shown, ".details > div")
    assert [word.split(" is moved")[0] for word in words] == [
        "1. [CLS] a quick brown fox [SEP] · ‘fox’", "2. [CLS] a slow brown old fox [SEP] · ‘fox’"
    ]  # fmt: skip


def test_a_long_title_is_one_line_until_more_is_asked(opened: Open) -> None:
    shown = opened(flow_of([f"word{n}" for n in range(70)], layers=1, heads=1))
    assert shown.query_selector("h1").bounding_box()["height"] < 30
    shown.click(".titles .more")
    assert shown.query_selector("h1").bounding_box()["height"] > 30
    assert "word69" in shown.inner_text("h1")
    short = opened(flow_of(TOKENS))
    assert not short.is_visible(".titles .more")
