"""What is drawn of a map: filters, colours, one scale, rows that miss the tolerance, links of a ladder."""

import re
from dataclasses import replace

import numpy as np
import pytest

from browser import flow_of
from ligflow import Flow
from ligflow.view.interactive_page import module, page
from pages import TOKENS, WORDS, Open, close, exported, map_of, table


@pytest.fixture(scope="module")
def flow() -> Flow:
    return flow_of(TOKENS, **WORDS)


def kept(values: np.ndarray, rule: str) -> np.ndarray:
    size = np.abs(values)
    share = size / size.sum(1, keepdims=True)
    if rule == "threshold":
        return np.where(share >= 0.2, values, np.nan)
    order = np.argsort(-size, axis=1, kind="stable")
    out = np.full_like(values, np.nan)
    for row, places in enumerate(order):
        count = 2 if rule == "top" else int(np.searchsorted(np.cumsum(share[row][places]), 0.6 - 1e-6)) + 1
        out[row, places[:count]] = values[row, places[:count]]
    return out


@pytest.mark.parametrize(("rule", "amount"), [("threshold", 20), ("top", 2), ("mass", 60)])
def test_filters_keep_what_they_say_and_tell_how_much(
    opened: Open, flow: Flow, rule: str, amount: int
) -> None:
    shown = opened(flow, state=f"map=z2z&layer=0&special=0&filter={rule}&amount={amount}")
    known = kept(flow.z2z[0].numpy(), rule)
    np.testing.assert_allclose(map_of(shown, "shown"), known, rtol=1e-5)
    share = np.nansum(np.abs(known)) / float(flow.z2z[0].abs().sum())
    assert shown.inner_text(".kept").startswith(f"{share:.0%} of the magnitude shown")
    close(map_of(shown), flow.z2z[0])


def test_a_saved_picture_says_what_is_hidden(opened: Open, flow: Flow) -> None:
    """The words under the map stand in the picture, too: shares of the rest are not shares of the row."""
    shown = opened(flow, state="map=z2z&layer=1&pin=t2")
    said = shown.inner_text(".kept")
    assert "hidden; they hold" in said
    assert "of this row; percentages are of the rest" in said
    assert said in exported(shown, "svg")


def test_what_is_shown_can_be_scaled_up_to_the_whole(opened: Open, flow: Flow) -> None:
    found = map_of(opened(flow, state="map=z2z&layer=0&special=0&filter=top&amount=2&renorm=1"), "shown")
    np.testing.assert_allclose(np.nansum(np.abs(found), 1), flow.z2z[0].abs().sum(-1), rtol=1e-5)


def test_the_diagonal_can_be_hidden(opened: Open) -> None:
    some = flow_of(TOKENS, targets=[1, 4])
    found = map_of(opened(some, state="map=z2z&special=0&diagonal=1"), "shown")
    assert np.isnan(found[0, 1])
    assert np.isnan(found[1, 4])
    assert np.isnan(found).sum() == 2


def test_signs_are_never_dropped_silently(opened: Open, flow: Flow) -> None:
    shown = opened(flow, state="map=z2z&layer=0&colour=value")
    shown.click('[name="more"]')
    blue, orange = colours(exported(shown, "svg"))
    assert blue
    assert orange
    for colour, words in (
        ("absolute", "magnitude; the sign is not shown"),
        ("share", "% of what moved the token"),
    ):
        shown.select_option('[name="colour"]', colour)
        assert words in shown.get_attribute(".legend", "aria-label")
        assert words in exported(shown, "svg")
        assert bool(colours(exported(shown, "svg"))[1]) == (colour == "share")


def colours(svg: str) -> tuple[int, int]:
    """How many cells are blue, and how many orange."""
    fills = re.findall(r'class="cell"[^>]*fill="rgb\((\d+),\d+,(\d+)\)"', svg)
    return sum(int(r) < int(b) for r, b in fills), sum(int(r) > int(b) for r, b in fills)


def test_direct_composed_and_difference_share_a_scale(opened: Open, flow: Flow) -> None:
    shown = opened(flow, state="map=z2z&layer=0&special=0&colour=value")
    scales = set()
    for name in ("z2z", "composed", "difference"):
        shown.select_option('[name="map"]', name)
        scales.add(shown.get_attribute(".legend", "aria-label"))
    most = max(
        float(m.abs().max()) for m in (flow.z2z[0], flow.composed()[0], flow.z2z[0] - flow.composed()[0])
    )
    (words,) = scales
    assert float(words.split("up to ")[1]) == pytest.approx(most, rel=0.01)


def test_rows_that_miss_the_tolerance_are_hatched_and_counted(opened: Open, flow: Flow) -> None:
    met = flow.tensors["z2u.met"].clone()
    met[1, 2, 3] = False
    bad = replace(flow, tensors={**flow.tensors, "z2u.met": met})
    shown = opened(bad, state="map=h2&layer=1&special=0")
    assert shown.inner_text("main .badge") == "✗ 1 of 6 targets not converged"
    svg = exported(shown, "svg")
    assert svg.count("url(#hatch") == 1
    assert [row["target"] for row in table(shown) if row["met"] == "0"] == ["3"] * 6
    badges = shown.eval_on_selector_all(".overview tbody .badge", "all => all.map(e => e.textContent)")
    assert badges == ["✓", "✗1"]
    shown.select_option('[name="map"]', "z2z")
    assert shown.inner_text("main .badge") == "✓ certified: each row adds up to how far its target moved"
    shown.select_option('[name="map"]', "composed")
    assert "1 of 6" in shown.inner_text("main .badge")


LADDER = """async (module) => {
  const m = await import(URL.createObjectURL(new Blob([module], { type: "text/javascript" })));
  const flow = m.openFlow(m.fromBase64(document.querySelector("script.flow").textContent.trim()), "x");
  const view = m.viewOf(flow, { layer: 1, map: "composed", rule: "conserving", filter: "all", special: 0 });
  return [...Array(view.rows).keys()].map((index) => {
    const { links } = m.ladderOf(view, { side: "target", index });
    return [0, 1].map((column) => links.filter((l) => l[0] === column).reduce((sum, l) => sum + l[3], 0));
  });
}"""


def test_the_ladder_of_a_target_sums_to_its_row(opened: Open, flow: Flow) -> None:
    """z -> u -> z': what arrives at a target is what leaves the sources, and its row of the composed map."""
    html = page([flow]).replace("script-src 'unsafe-inline'", "script-src 'unsafe-inline' blob:")
    sums = opened(html=html).evaluate(LADDER, module())
    known = flow.composed()[1].sum(-1).numpy()
    np.testing.assert_allclose(np.array(sums), np.stack([known, known], 1), rtol=1e-3, atol=1e-4)
