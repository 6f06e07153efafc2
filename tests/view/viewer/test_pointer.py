"""Where a cell is drawn, and what is said at the pointer and of what is pinned."""

import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from browser import flow_of
from ligflow import Flow
from pages import TOKENS, WORDS, Open, exported, heat_place, one_large_cell, state_of, table


@pytest.fixture(scope="module")
def flow() -> Flow:
    return flow_of(TOKENS, **WORDS)


def test_a_large_cell_is_at_its_targets_row_and_its_sources_column(opened: Open) -> None:
    shown = opened(one_large_cell(), state="map=z2z&layer=1&special=0&colour=value")
    svg = ET.fromstring(exported(shown, "svg"))
    cells = [node.attrib for node in svg.iter() if node.attrib.get("class") == "cell"]
    large = [cell for cell in cells if float(cell["data-value"]) > 8]
    assert [(cell["data-target"], cell["data-source"]) for cell in large] == [("2", "4")]
    assert large[0]["fill"] == "rgb(33,102,172)"
    same_row = {cell["y"] for cell in cells if cell["data-target"] == "2"}
    same_column = {cell["x"] for cell in cells if cell["data-source"] == "4"}
    assert same_row == {large[0]["y"]}
    assert same_column == {large[0]["x"]}
    labels = {node.text: node.attrib for node in svg.iter() if node.tag.endswith("text")}
    assert {"target (row)", "source (column)"} <= set(labels)
    assert {row["target_label"] for row in table(shown) if float(row["value"]) > 8} == {"light"}


def test_a_cell_is_explained_at_the_pointer(opened: Open) -> None:
    shown = opened(one_large_cell(), state="map=z2z&layer=1&special=0")
    x, y = heat_place(shown, 2, 4)
    shown.mouse.move(x, y)
    shown.wait_for_selector(".tip:not([hidden])")
    row = one_large_cell().z2z[1, 2]
    share = f"{9 / float(row.abs().sum()):.0%}"
    assert shown.inner_text(".tip").split("\n") == [f"‘keeper’ to ‘light’: {share} of what moved it", "9"]
    box = shown.query_selector(".tip").bounding_box()
    assert 0 < abs(box["x"] - x) < box["width"] + 30
    assert abs(box["y"] - y) < box["height"] + 30
    shown.mouse.move(5, 5)
    assert shown.is_hidden(".tip")


def test_a_sheet_at_the_foot_on_phones(opened: Open) -> None:
    shown = opened(
        one_large_cell(), state="map=z2z&layer=1&special=0", viewport={"width": 390, "height": 844},
        has_touch=True, is_mobile=True,
    )  # fmt: skip
    over = shown.locator("canvas.over").nth(1)
    over.scroll_into_view_if_needed()
    shown.touchscreen.tap(*heat_place(shown, 2, 4))
    shown.wait_for_selector(".tip:not([hidden])")
    box = shown.query_selector(".tip").bounding_box()
    assert (round(box["x"]), round(box["width"])) == (0, 390)
    assert round(box["y"] + box["height"]) == 844
    assert "‘keeper’ to ‘light’" in shown.inner_text(".tip")
    assert "pin=t2" in state_of(shown)


def test_the_numbers_of_a_row_are_there_on_demand(opened: Open, flow: Flow) -> None:
    origin = {"z2z.origin": 0.02 * flow.tensors["z2z.scale"]}
    early = replace(flow, tensors={**flow.tensors, **origin})
    shown = opened(early, state="map=z2z&layer=1&pin=t2&special=0")
    words = shown.inner_text(".details > div")
    assert words.startswith("‘light’ is moved by ")
    assert words.endswith("; ✓ certified; 2.0% happened at the very start of the path")
    assert not shown.is_visible(".details details div")
    shown.click(".details summary")
    numbers = shown.inner_text(".details details")
    assert "completeness error" in numbers
    assert "7 steps" in numbers
    again = opened(flow, state="map=z2z&layer=1&pin=t2&special=0")
    assert again.inner_text(".details > div").endswith("✓ certified")
