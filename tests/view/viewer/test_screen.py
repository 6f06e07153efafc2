"""Getting about: thumbnails, links, keys, controls, pins."""

import re

import numpy as np
import pytest
import torch

from browser import flow_of
from ligflow import Flow, from_attentions
from ligflow.view.completeness import ATTENTION
from pages import (
    GO,
    SELECTED,
    TOKENS,
    WORDS,
    Open,
    chosen,
    exported,
    heat_place,
    map_of,
    one_large_cell,
    state_of,
)


@pytest.fixture(scope="module")
def flow() -> Flow:
    return flow_of(TOKENS, **WORDS)


def test_the_overview_has_a_picture_of_every_map_and_opens_it(opened: Open, flow: Flow) -> None:
    shown = opened(flow)
    places = shown.eval_on_selector_all(
        ".overview td button", "all => all.map(e => [e.dataset.layer, e.dataset.map])"
    )
    maps = ["composed", "z2z", "h0", "h1", "h2"]
    assert places == [[str(layer), name] for layer in (0, 1) for name in maps]
    shown.click('.overview button[data-layer="1"][data-map="h2"]')
    assert (chosen(shown, "layer"), chosen(shown, "map")) == ("1", "h2")
    assert shown.inner_text("h2") == "Layer 1: what head 2 reads"
    assert shown.get_attribute('.overview button[data-layer="1"][data-map="h2"]', "aria-pressed") == "true"


def test_the_thumbnail_is_the_map(opened: Open) -> None:
    shown = opened(one_large_cell())
    shown.wait_for_function("document.querySelector('.overview canvas[data-layer=\"1\"]').width === 4")
    pixels = shown.eval_on_selector(
        '.overview canvas[data-layer="1"][data-map="z2z"]',
        "c => [...c.getContext('2d').getImageData(0, 0, 4, 6).data]",
    )
    red = np.array(pixels).reshape(6, 4, 4)[..., 0]
    kept = (
        one_large_cell().z2z[1][:, 1:5].numpy()
    )  # [CLS] and [SEP] are no sources; a row goes up to its strongest
    share = kept / np.abs(kept).max(1, keepdims=True)
    known = 255 - (255 - np.where(share > 0, 33, 217)) * np.abs(share)
    assert np.abs(red - known).max() <= 1
    assert red[2, 3] == 33


def test_a_link_reopens_the_view(opened: Open, flow: Flow) -> None:
    shown = opened(flow)
    shown.select_option('[name="layer"]', "1")
    shown.select_option('[name="map"]', "composed")
    shown.click('[name="more"]')
    shown.select_option('[name="filter"]', "top")
    shown.check('[name="words"]')
    shown.keyboard.press("Escape")
    link = state_of(shown)
    again = opened(flow, state=link)
    assert (chosen(again, "layer"), chosen(again, "map"), chosen(again, "filter")) == ("1", "composed", "top")
    assert chosen(again, "words") == "True" or chosen(again, "words") == "true"
    assert exported(again, "csv") == exported(shown, "csv")


@pytest.mark.parametrize(
    "state",
    ["layer=99&map=h77&pin=t999", "flow=-4&amount=nan&filter=x", "pin=%00<b>&prefix=9999", "zoom=1e99"],
)
def test_links_that_cannot_be_meant_open_something(opened: Open, flow: Flow, state: str) -> None:
    shown = opened(flow, state=state)
    assert "certified" in shown.inner_text("main .badge")
    assert map_of(shown).size


def test_keys_do_all_of_it(opened: Open, flow: Flow) -> None:
    shown = opened(flow, state="layer=0&map=z2z&pin=")
    shown.focus("canvas.over")
    for key, name, value in (
        ("]", "layer", "1"), (".", "map", "composed"), (".", "map", "difference"), (",", "map", "composed"),
        ("f", "filter", "threshold"), ("c", "colour", "value"), ("w", "words", "true"),
        ("s", "special", "false"), ("d", "diagonal", "true"), ("n", "renorm", "true"),
    ):  # fmt: skip
        shown.keyboard.press(key)
        assert chosen(shown, name).lower() == value, key
    for key, tab in (("x", "text"), ("t", "trace"), ("t", "map"), ("t", "trace"), ("m", "map")):
        shown.keyboard.press(key)
        assert shown.get_attribute(SELECTED, "name") == f"tab-{tab}", key
    for _ in range(3):
        shown.keyboard.press("ArrowDown")
    assert "pin=t2" in state_of(shown)
    assert "‘lighthouse’ is moved by" in shown.inner_text(".details")
    shown.keyboard.press("ArrowRight")
    assert "pin=s0" in state_of(shown)
    shown.keyboard.press("Escape")
    assert not re.search("pin=[sth]", state_of(shown))
    assert shown.inner_text(".details") == ""


def test_of_attention_weights_nothing_is_said_to_have_moved_a_token(opened: Open) -> None:
    weights = torch.full((2, 1, 3, len(TOKENS), len(TOKENS)), 0.1) + torch.eye(len(TOKENS)) / 2
    shown = opened(from_attentions([*weights / weights.sum(-1, keepdim=True)], TOKENS))
    assert shown.inner_text("h2 + .badge") == ATTENTION
    page = shown.inner_text("header") + shown.inner_text(".body").partition("How to read it")[0]
    assert "of the attention of" in page
    assert not re.search("moved|certified:|✓", page)


def test_every_control_can_be_reached_with_tab(opened: Open, flow: Flow) -> None:
    shown = opened(flow, state="filter=top&amount=2")
    shown.click('[name="more"]')
    shown.evaluate("document.activeElement.blur()")
    names = set()
    for _ in range(40):
        shown.keyboard.press("Tab")
        names.add(shown.evaluate("document.activeElement.name || document.activeElement.className"))
    controls = [
        "layer",
        "map",
        "rule",
        "colour",
        "filter",
        "renorm",
        "words",
        "special",
        "prefix",
        "diagonal",
        "theme",
    ]
    assert {*controls, "over", "skip", "tab-map", "export-svg", "export-png", "export-csv"} <= names


def test_a_click_pins_a_target_and_its_flows_are_isolated(opened: Open, flow: Flow) -> None:
    shown = opened(flow, state="map=composed&pin=&special=0")
    everything = exported(shown, "svg").count("<path d=")
    shown.mouse.click(*heat_place(shown, 3, 0))
    assert "pin=t3" in state_of(shown)
    alone = exported(shown, "svg")
    assert alone.count("<path d=") < everything
    assert "‘house’ is moved by" in shown.inner_text(".details")
    shown.mouse.click(*heat_place(shown, 3, 0))
    assert state_of(shown).endswith("pin=")


@pytest.mark.parametrize("tab", ["map", "text", "trace"])
def test_the_thumbnails_stand_beside_and_end_with_the_window(opened: Open, tab: str) -> None:
    deep = flow_of(TOKENS, layers=40, heads=20 if tab != "map" else 6)
    shown = opened(deep, state=f"layer=33&map=h2&pin=t1&tab={tab}")
    thumbs, main = (shown.locator(name).bounding_box() for name in (".thumbs", "main"))
    assert thumbs["x"] + thumbs["width"] < main["x"]
    assert thumbs["width"] <= 0.42 * 1280
    assert 690 < thumbs["y"] + thumbs["height"] <= 720
    box = shown.locator('.overview button[data-layer="33"][data-map="h2"]').bounding_box()
    names = shown.locator(".overview thead").bounding_box()
    assert names["y"] == pytest.approx(thumbs["y"], abs=1)
    assert names["y"] + names["height"] <= box["y"] <= thumbs["y"] + thumbs["height"] - box["height"]


def test_an_address_without_a_layer_keeps_the_one_that_is_shown(opened: Open, flow: Flow) -> None:
    shown = opened(flow)
    opens_at = chosen(shown, "layer")
    other = str(1 - int(opens_at))
    shown.select_option('[name="layer"]', other)
    for number in range(3):
        shown.evaluate(GO, f"map=h{number}")
        assert (chosen(shown, "layer"), chosen(shown, "map")) == (other, f"h{number}")
        again = opened(flow, state=state_of(shown))
        assert (chosen(again, "layer"), chosen(again, "map")) == (other, f"h{number}")
    shown.evaluate(GO, "")
    assert chosen(shown, "layer") == opens_at
