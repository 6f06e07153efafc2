"""The page of all heads, in a browser: two measures, examples of the head that is chosen, hostile texts."""

from dataclasses import replace

import pytest

from ligflow.view.heads_page import HeadsPage, Measure, ShownComponent, ShownExample, ShownPrompt, page
from pages import HOSTILE, Open

PROMPTS = {
    4: ShownPrompt(HOSTILE, HOSTILE[0], 1.5, HOSTILE[1], HOSTILE[2], "pages/prompt-4.html"),
    9: ShownPrompt(["a", " b"], "c", -0.5, "made:9", None, None),
}
EXAMPLES = [
    ShownExample(4, 0.5, [0.1] * (len(HOSTILE) - 1) + [-0.3]),
    ShownExample(9, -0.25, [0.0, -0.2]),
]
SHOWN = HeadsPage(
    f"Which heads carry it: {HOSTILE[0]}",
    [f"Group {HOSTILE[1]} differs."],
    [
        Measure("share", "mean"),
        Measure("relevance", "sum", "score"),
        Measure("magnitude", HOSTILE[2]),
        Measure("layer", "its number", "count"),
        Measure(f"share in {HOSTILE[0]}", "mean"),
    ],
    [
        ShownComponent("layer 0, head 0", "head", "for", 0.2, 0.4, [0.3, 1.25, 0.35, 0, 0.1], EXAMPLES),
        ShownComponent("layer 0, head 1", "head", "against", -0.4, -0.2, [-0.3, -1, 0.3, 0, None], EXAMPLES),
        ShownComponent("layer 1, cross head 0", "cross-head", "no", None, None, [0.1, 0.5, 0.2, 1, 0.1], []),
        ShownComponent("layer 1, MLP", "mlp", "no", -0.1, 0.1, [0.0, 0.0, 0.05, 1, 0.2], []),
    ],
    PROMPTS,
    {"head": 0.05, "cross-head": 0.05, "mlp": 0.02},
)


def test_a_point_is_chosen_and_its_examples_are_shown(opened: Open) -> None:
    shown = opened(html=page(SHOWN))
    assert len(shown.query_selector_all(".point")) == 3  # heads alone
    assert shown.inner_text(".side h2") == "layer 0, head 0"  # the largest share
    shown.select_option('[name="show"]', "heads and MLPs")
    shown.select_option('[name="y"]', "2")
    points = shown.query_selector_all(".point")
    names = {point.get_attribute("data-name"): point for point in points}
    assert {name: point.evaluate("e => e.tagName") for name, point in names.items()} == {
        "layer 0, head 0": "circle", "layer 0, head 1": "circle", "layer 1, cross head 0": "rect",
        "layer 1, MLP": "rect",
    }  # fmt: skip
    classes = {name: point.get_attribute("class").split()[1] for name, point in names.items()}
    assert [*classes.values()] == ["against", "other", "other", "for"]  # from left to right
    left, right = (float(names[f"layer 0, head {head}"].get_attribute("cx")) for head in (1, 0))
    middle = float(names["layer 1, MLP"].get_attribute("x")) + 5
    assert (right - middle) / (middle - left) == pytest.approx(1, abs=1e-6)  # +0.3, 0, -0.3
    names["layer 0, head 0"].click()
    side = shown.inner_text(".side")
    assert "It carries the task, for the answer: share 30%, 95% interval 20% to 40%" in side
    assert "stay below 5%" in side
    cards = shown.query_selector_all(".example")
    assert len(cards) == 2
    assert "share 50%, change of the score +1.50" in cards[0].inner_text()
    tokens = cards[1].query_selector_all(".tokens span")
    assert [token.text_content() for token in tokens] == ["a", " b"]
    assert tokens[0].evaluate("e => e.style.background") == ""
    assert "--against) 80%" in tokens[1].evaluate("e => e.style.background")
    assert shown.get_attribute(".example a", "href") == "pages/prompt-4.html"
    assert cards[1].query_selector("a") is None


def test_hostile_texts_are_texts(opened: Open) -> None:
    html = page(SHOWN)
    shown = opened(html=html, state="part=layer+0%2C+head+0")
    shown.wait_for_selector(".example")
    assert shown.evaluate("window.hacked") is None
    assert HOSTILE[0] in shown.inner_text("h1")
    assert HOSTILE[0] in shown.inner_text(".example .tokens")
    assert "\u202e" not in shown.inner_text("body")
    assert "<img src=x" not in html


def test_measures_are_chosen_and_stand_in_the_address(opened: Open) -> None:
    shown = opened(html=page(SHOWN), state="show=heads+and+MLPs")
    assert len(shown.query_selector_all(".point")) == 4
    shown.select_option('[name="y"]', "4")
    assert len(shown.query_selector_all(".point")) == 3  # one has no value there
    shown.select_option('[name="x"]', "3")
    assert "x=3&y=4&show=heads+and+MLPs" in shown.evaluate("location.hash")
    assert shown.eval_on_selector_all(".axis", "all => all.map(e => e.textContent)")[0] == "layer"
    shown.evaluate("location.hash = 'x=1&y=99&show=all&part=none'")
    shown.wait_for_function("document.querySelector('[name=x]').value === '1'")
    assert shown.eval_on_selector('[name="y"]', "e => e.value") == "4"


def test_keys_walk_through_points_and_choose(opened: Open) -> None:
    shown = opened(html=page(SHOWN), state="y=2")
    shown.focus(".scatter")
    for key in ("ArrowRight", "ArrowLeft", "ArrowLeft"):  # from the chosen point, which is the last
        shown.keyboard.press(key)
    assert shown.inner_text(".tip") == "layer 0, head 1: share −30%, magnitude 30%"
    shown.keyboard.press("ArrowRight")
    shown.keyboard.press("ArrowLeft")
    shown.keyboard.press("Enter")
    assert shown.inner_text(".side h2") == "layer 0, head 1"
    assert "It carries the task, against the answer: share −30%" in shown.inner_text(".side")
    assert "part=layer+0%2C+head+1" in shown.evaluate("location.hash")


def test_the_table_sorts_and_chooses(opened: Open) -> None:
    shown = opened(html=page(SHOWN))

    def rows() -> list[str]:
        return shown.eval_on_selector_all(".wide tbody th", "all => all.map(e => e.textContent)")

    assert rows()[0] == "layer 0, head 0"
    heading = shown.query_selector('.wide thead button:text-is("magnitude")')
    heading.click()
    heading.click()
    assert rows() == ["layer 1, MLP", "layer 1, cross head 0", "layer 0, head 1", "layer 0, head 0"]
    assert heading.evaluate("e => e.parentElement.ariaSort") == "ascending"
    shown.click('.wide tbody button:text-is("layer 1, MLP")')
    side = shown.inner_text(".side")
    assert side.startswith("layer 1, MLP")
    assert "Whether it carries the task cannot be told" in side
    assert "relevance\t0" in side


def test_without_scripts_the_numbers_are_a_table() -> None:
    html = page(replace(SHOWN, components=SHOWN.components[:1]))
    assert "<noscript><table>" in html
    assert "<th>layer 0, head 0</th><td>for</td><td>0.3</td><td>1.25</td><td>0.35</td>" in html
