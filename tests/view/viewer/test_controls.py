"""Few controls at first, each explained, each in reach of keys; letters that can be read."""

from typing import Any

import pytest

from browser import flow_of
from ligflow import Flow
from pages import MEAN, TOKENS, WORDS, Open, chosen, state_of


@pytest.fixture(scope="module")
def flow() -> Flow:
    return flow_of(TOKENS, **WORDS, settings=MEAN)


UNEXPLAINED = """all => all.filter(e => !e.closest(".overview td"))
  .filter(e => !(e.getAttribute("aria-description") || "").trim()).map(e => e.outerHTML)"""
SMALL_OR_FAINT = """() => {
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (colour) => numbers(colour).slice(0, 3).map((v) => v / 255)
    .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (e) => { for (; e; e = e.parentElement) {
    const { backgroundColor } = getComputedStyle(e);
    if (!/rgba\\(.*, 0\\)/.test(backgroundColor)) return backgroundColor; } return "rgb(255, 255, 255)"; };
  return [...document.querySelectorAll(".app *")]
    .filter((e) => e.checkVisibility() && [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()))
    .flatMap((e) => {
      const { fontSize, color } = getComputedStyle(e);
      const [one, two] = [light(color), light(behind(e))].sort((a, b) => b - a);
      const contrast = (one + 0.05) / (two + 0.05);
      const fine = parseFloat(fontSize) >= 13 && contrast >= 4.5;
      return fine ? [] : [`${e.textContent} ${fontSize} ${contrast}`];
    });
}"""


def in_sight(shown: Any) -> list[str]:
    return list(
        shown.eval_on_selector_all(
            ".bar select, .bar input, .bar button:not([role=tab])",
            "all => all.filter(e => e.checkVisibility()).map(e => e.name)",
        )
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_few_controls_at_first_and_all_of_them_explained_and_legible(
    opened: Open, flow: Flow, scheme: str
) -> None:
    shown = opened(
        flow, flow, state="filter=top&amount=2&diagonal=1&tab=trace&map=z2z&pin=t3", color_scheme=scheme
    )
    assert in_sight(shown) == ["flow", "layer", "map", "more"]
    shown.keyboard.press("o")
    assert "more=1" in state_of(shown)
    controls = ".app button, .app select, .app input"
    assert shown.eval_on_selector_all(controls, UNEXPLAINED) == []
    assert shown.evaluate(SMALL_OR_FAINT) == []
    names = shown.eval_on_selector_all(".gear select, .gear input", "all => all.map(e => e.name)")
    assert names == [
        "special", "words", "prefix", "diagonal", "colour", "filter", "amount", "renorm",
        "beside", "besideLayer", "besideMap", "paths", "cut", "top", "theme",
    ]  # fmt: skip
    assert shown.is_visible('[name="renorm"]')
    plain = opened(
        flow_of(["a", "b"], layers=1, heads=1, routes=("z2z",)), state="more=1", color_scheme=scheme
    )
    assert in_sight(plain) == ["more"]
    assert [
        n
        for n in ("special", "words", "rule", "amount", "renorm", "besideMap")
        if plain.query_selector(f'[name="{n}"]')
    ] == []


def test_a_control_is_explained_where_the_pointer_rests_and_where_keys_come_to(
    opened: Open, flow: Flow
) -> None:
    shown = opened(flow)
    shown.hover('[name="layer"]')
    shown.wait_for_selector(".tip:not([hidden])")
    assert shown.inner_text(".tip").startswith("Layers follow each other: 0 is next to the input")
    box, tip = (shown.query_selector(name).bounding_box() for name in ('[name="layer"]', ".tip"))
    assert abs(tip["y"] - box["y"]) < 80
    shown.mouse.move(5, 500)
    shown.wait_for_selector(".tip", state="hidden")
    shown.keyboard.press("Tab")
    while shown.evaluate("document.activeElement.name") != "ask-head":
        shown.keyboard.press("Tab")
    assert shown.inner_text(".tip").startswith("From which tokens one attention head takes")
    shown.keyboard.press("Enter")
    assert chosen(shown, "map").startswith("h")
    assert shown.evaluate("document.activeElement.name") == "ask-head"
