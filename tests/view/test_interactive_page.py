"""The interactive page in a real browser: what it shows, keeps in its address, and exports."""

import base64
import csv
import io
import itertools
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from browser import chromium, flow_of, still_head
from ligflow import Flow, LigflowError, view
from ligflow.results.tracing import trace
from ligflow.view.highlights import highlights, sentences
from ligflow.view.interactive_page import module, page
from ligflow.view.payload import pack, quantise

TOKENS = ["[CLS]", "the", "light", "house", "keeper", "[SEP]"]
WORDS = {"words": [0, 1, 2, 2, 3, 4], "word_labels": ["[CLS]", "the", "lighthouse", "keeper", "[SEP]"]}
HOSTILE = [
    "<script>window.hacked=1</script>", "</script><img src=x onerror=window.hacked=1>",
    '"\'`${window.hacked=1}',
    "👍🏽", "שלום", "a\u202eb", "\x1b[31m\x00", "=1+1",
]  # fmt: skip
SELECTED = '[role="tab"][aria-selected="true"]'
Open = Callable[..., Any]
VIEW = Path(view.__file__).parent / "viewer"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as one:
        yield one


@pytest.fixture
def opened(browser: Any, tmp_path: Path) -> Iterator[Open]:
    """Opens a page of flows; any script error, console error or request fails the test."""
    problems: list[str] = []
    asked: list[str] = []
    contexts = []

    def call(*flows: Flow, state: str = "", view: str = "", html: str | None = None, **context: Any) -> Any:
        path = tmp_path / "page.html"
        path.write_text(html or page(flows, view=view), encoding="utf-8")
        contexts.append(browser.new_context(**{"viewport": {"width": 1280, "height": 720}} | context))
        shown = contexts[-1].new_page()
        shown.on("pageerror", lambda error: problems.append(f"page: {error}"))
        shown.on("console", lambda note: problems.append(note.text) if note.type == "error" else None)
        shown.on(
            "request",
            lambda r: None if r.url.startswith(("file:", "blob:", "data:")) else problems.append(r.url),
        )
        shown.goto(f"{path.as_uri()}#{state}")
        return shown

    yield call
    for context in contexts:
        context.close()
    assert problems == []
    assert [url for url in asked if not url.startswith(("file:", "blob:", "data:"))] == []


@pytest.fixture(scope="module")
def flow() -> Flow:
    return flow_of(TOKENS, **WORDS)


def exported(shown: Any, kind: str) -> str:
    with shown.expect_download() as waiting:
        shown.click(f".export-{kind}")
    return str(Path(waiting.value.path()).read_text(encoding="utf-8"))


def table(shown: Any) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(exported(shown, "csv"))))


def map_of(shown: Any, column: str = "value") -> np.ndarray:
    """The exported map, [target, source] in the order of the rows; NaN where nothing is shown."""
    rows = table(shown)
    count = len({row["target"] for row in rows})
    return np.array([float(row[column] or "nan") for row in rows]).reshape(count, -1)


def chosen(shown: Any, name: str) -> str:
    return str(shown.eval_on_selector(f'[name="{name}"]', "e => e.type === 'checkbox' ? e.checked : e.value"))


def close(found: np.ndarray, known: torch.Tensor) -> None:
    np.testing.assert_allclose(found, known.numpy(), rtol=1e-4, atol=1e-5)


# --- maps -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "known"),
    [
        ("map=z2z&layer=1&special=0", lambda f: f.z2z[1]),
        ("map=composed&layer=0&special=0", lambda f: f.composed()[0]),
        ("map=conserving&layer=0&special=0", lambda f: f.composed()[0]),
        ("map=composed&rule=product&layer=1&special=0", lambda f: f.composed("product")[1]),
        ("map=product&layer=1&special=0", lambda f: f.composed("product")[1]),
        ("map=difference&layer=0&special=0", lambda f: f.z2z[0] - f.composed()[0]),
        ("map=z2u&layer=1&special=0", lambda f: f.z2u[1].sum(0)),
        ("map=h2&layer=0&special=0", lambda f: f.z2u[0, 2]),
        ("map=u2z&layer=1", lambda f: torch.cat([f.u2z[1], f.u2z_residual[1][None]]).T),
        ("map=z2z&words=1&layer=0&special=0", lambda f: f.merge_words().z2z[0]),
        ("map=composed&words=1&layer=0&special=0", lambda f: f.merge_words().composed()[0]),
        ("map=composed&layer=0", lambda f: f.composed()[0][:, 1:5]),
        ("map=h1&words=1&layer=0", lambda f: f.merge_words().z2u[0, 1][:, 1:4]),
        ("map=z2z&prefix=2&layer=0&special=0", lambda f: f.z2z[0, :, 2:]),
    ],
)
def test_the_exported_table_is_the_tensor(opened: Open, flow: Flow, state: str, known: Any) -> None:
    close(map_of(opened(flow, state=state)), known(flow))


def test_a_head_that_did_not_move_hands_its_weight_to_the_diagonal(opened: Open, flow: Flow) -> None:
    still = still_head(flow)
    close(map_of(opened(still, state="map=composed&layer=1&special=0")), still.composed()[1])


def test_some_targets(opened: Open) -> None:
    some = flow_of(TOKENS, targets=[1, 4])
    shown = opened(some, state="map=composed&layer=0&special=0")
    close(map_of(shown), some.composed()[0])
    assert {row["target"] for row in table(shown)} == {"1", "4"}


@pytest.mark.parametrize("route", ["z2u", "u2z", "z2z"])
def test_a_flow_of_one_route(opened: Open, route: str) -> None:
    shown = opened(flow_of(TOKENS, routes=(route,)))
    assert chosen(shown, "map") == route
    assert "certified" in shown.inner_text("main .badge")


@pytest.mark.parametrize("kind", ["merged", "hidden"])
def test_flows_that_were_regrouped_in_python(opened: Open, flow: Flow, kind: str) -> None:
    regrouped = flow.merge_words() if kind == "merged" else flow.hide_special()
    close(map_of(opened(regrouped, state="map=composed&layer=1&special=0")), regrouped.composed()[1])


@pytest.mark.parametrize("count", [1, 2])
def test_very_short_texts(opened: Open, count: int) -> None:
    short = flow_of(TOKENS[1 : 1 + count])
    close(map_of(opened(short, state="map=z2z&layer=0&special=0")), short.z2z[0])


# --- orientation ----------------------------------------------------------------------------------


def one_large_cell() -> Flow:
    """Layer 1: source 4 (keeper) gives target 2 (light) almost all."""
    made = flow_of(TOKENS, routes=("z2z",))
    z2z = 0.01 * made.z2z
    z2z[1, 2, 4] = 9
    return replace(made, tensors={**made.tensors, "z2z": z2z})


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


def state_of(shown: Any) -> str:
    """The state in the page's address, asked of the page itself: what the driver knows of it may lag."""
    return str(shown.evaluate("location.hash")).removeprefix("#")


def heat_place(shown: Any, row: int, column: int) -> tuple[float, float]:
    """Where a cell is on the screen, from the frame of the exported picture."""
    svg = ET.fromstring(exported(shown, "svg"))
    cells = [n.attrib for n in svg.iter() if n.attrib.get("class") == "cell"]
    size = float(cells[0]["width"])
    left = float(next(c for c in cells if c["data-source"] == "0")["x"]) - float(heat_offset(svg))
    top = float(next(c for c in cells if c["data-target"] == "0")["y"]) - 52
    box = shown.query_selector_all("canvas.over")[1].bounding_box()
    return box["x"] + left + (column + 0.5) * size, box["y"] + top + (row + 0.5) * size


def heat_offset(svg: ET.Element) -> float:
    """Where the heat map begins in the picture: left of its axis title by 10."""
    title = next(n for n in svg.iter() if n.text == "target (row)")
    return float(title.attrib["x"]) - 10


# --- filters, colours, certificates ---------------------------------------------------------------


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
    shown.click(".gear summary")
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
    assert shown.inner_text("main .badge") == "✓ certified"
    shown.select_option('[name="map"]', "composed")
    assert "1 of 6" in shown.inner_text("main .badge")


# --- getting about --------------------------------------------------------------------------------


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
    shown.click(".gear summary")
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


def test_every_control_can_be_reached_with_tab(opened: Open, flow: Flow) -> None:
    shown = opened(flow, state="filter=top&amount=2")
    shown.click(".gear summary")
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


# --- what it opens with ---------------------------------------------------------------------------

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


# --- trace ----------------------------------------------------------------------------------------

MEAN = {"att_baseline": "mean", "mlp_baseline": "matched", "layer_baseline": "mean", "tol": 1e-3}
TRACE = """async ([module, state, token, count, cut]) => {
  const m = await import(URL.createObjectURL(new Blob([module], { type: "text/javascript" })));
  const files = [...document.querySelectorAll("script.flow")].map((one) => one.textContent.trim());
  const [flow, top] = files.map((data) => m.openFlow(m.fromBase64(data), "x"));
  const found = m.traceOf(flow, { rule: "conserving", ...state }, token, top || null);
  return { relevance: found.relevance.map((row) => [...row]), certificates: found.certificates,
    drift: found.drift, unmet: found.unmet, still: found.still, layers: found.layers,
    edges: m.edgesOf(found, cut), paths: m.strongestPaths(found.shares, found.start, count) };
}"""


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


def followed(
    opened: Open, flows: list[Flow], token: int, count: int = 5, cut: float = 0.05, **state: Any
) -> Any:
    html = page(flows).replace("script-src 'unsafe-inline'", "script-src 'unsafe-inline' blob:")
    return opened(html=html).evaluate(TRACE, [module(), state, token, count, cut])


@pytest.mark.parametrize("words", [0, 1])
@pytest.mark.parametrize("which", ["composed", "z2z"])
@pytest.mark.parametrize("under", [False])
def test_a_trace_is_that_of_python(opened: Open, deep: Flow, which: str, words: int, under: bool) -> None:
    """Relevance at every depth, certificates, paths and edges; of words, and with another first step."""
    top = flow_of(TOKENS, layers=4, targets=[4], seed=9, settings=MEAN, **WORDS) if under else None
    seen = deep.merge_words() if words else deep
    seen_top = top.merge_words() if top and words else top
    known = trace(seen, seen.tokens.index("keeper"), which=which, top=seen_top)
    given = [deep, top] if top else [deep]
    found = followed(opened, given, 4, 7, 0.05, map=which, layer=3, words=words)
    assert found["layers"] == [3, 2, 1, 0]
    np.testing.assert_allclose(found["relevance"], known.relevance.numpy(), rtol=2e-4, atol=1e-5)
    np.testing.assert_allclose(found["certificates"], known.certificates.numpy(), rtol=1e-3, atol=1e-8)
    assert found["drift"] < 1e-12
    assert found["unmet"] == known.unmet > 0
    assert found["still"] == known.still
    paths = known.paths(7)
    assert [tuple(path["nodes"]) for path in found["paths"]] == [path.nodes for path in paths]
    assert [path["weight"] for path in found["paths"]] == pytest.approx([p.weight for p in paths], rel=1e-3)
    edges = {(edge.layer, edge.target, edge.source): edge.relevance for edge in known.edges(0.05)}
    assert {(3 - step, target, source) for step, target, source, _ in found["edges"]} == set(edges)
    sizes = [abs(edge[3]) for edge in found["edges"]]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes == pytest.approx(sorted(map(abs, edges.values()), reverse=True), rel=1e-3)


@pytest.mark.parametrize("token", range(6))
def test_every_path_of_a_trace(opened: Open, deep: Flow, token: int) -> None:
    """As many paths as there are, of the lowest two layers, from a token in the middle of the flow."""
    known = trace(deep, token, layer=1).paths(36)
    found = followed(opened, [deep], token, 99, map="composed", layer=1)["paths"]
    assert {tuple(path["nodes"]) for path in found} == {path.nodes for path in known}
    assert [path["weight"] for path in found] == pytest.approx([p.weight for p in known], rel=1e-3)


def lines(shown: Any, selector: str) -> list[str]:
    return list(shown.eval_on_selector_all(selector, "all => all.map(e => e.textContent)"))


def condensed(nodes: Sequence[int]) -> str:
    """A path with equal steps as one."""
    runs = [(TOKENS[node], len([*same])) for node, same in itertools.groupby(nodes)]
    return " ← ".join(name if count == 1 else f"{name} (×{count})" for name, count in runs)


def test_a_trace_is_shown(opened: Open, deep: Flow) -> None:
    shown = opened(deep, state="map=z2z&layer=3&trace=1&pin=t4&paths=3&cut=10&special=1")
    known = trace(deep, 4, which="z2z")
    words = shown.inner_text(".trace p")
    best = int(known.input.abs().argmax())
    share = f"‘{TOKENS[best]}’ {100 * float(known.input[best]):.0f}%"
    assert words.startswith(f"‘keeper’ after layer 3, followed down to the input, comes from {share}")
    about = shown.inner_text(".trace p.faint")
    assert about.startswith("Maps: token to token; shares sum to 1 at every depth, within")
    assert f"is off by up to {float(known.certificates.max()):.0e} of it".replace("e-0", "e-") in about
    assert known.still == 1
    assert "1 token did not move and keeps its share" in about
    assert "1 integrals not converged" in about
    assert "hidden tokens take part" in about
    assert shown.inner_text(".trace .running") == " ".join(TOKENS)
    rows = lines(shown, ".trace tbody tr")
    assert [row.split("‘")[0] for row in rows] == [*(f"after layer {n}" for n in (3, 2, 1, 0)), "input"]
    assert share in rows[-1]
    assert lines(shown, ".trace li") == [
        f"{100 * path.weight:.{int(abs(path.weight) < 0.1)}f}%: {condensed(path.nodes)}"
        for path in known.paths(3)
    ]
    svg = exported(shown, "svg")
    ET.fromstring(svg)
    assert f"{len(known.edges(0.1))} edges from 10%; thin lines: the 3 strongest paths" in svg


def test_a_trace_by_keyboard_and_in_a_link(opened: Open, deep: Flow) -> None:
    shown = opened(deep, state="map=composed&layer=2&pin=")
    shown.focus("canvas.over")
    shown.keyboard.press("t")
    assert shown.inner_text(".trace p").startswith("Pin a target")
    shown.keyboard.press("ArrowDown")
    shown.keyboard.press("ArrowDown")
    assert shown.inner_text(".trace p").startswith("‘the’ after layer 2")
    shown.keyboard.press("]")
    assert shown.inner_text(".trace p").startswith("‘the’ after layer 3")
    shown.click(".gear summary")
    for name, value in (("paths", "2"), ("cut", "2.5")):
        shown.fill(f'[name="{name}"]', value)
        shown.keyboard.press("Tab")
    assert len(lines(shown, ".trace li")) == 2
    again = opened(deep, state=state_of(shown))
    for selector in (".trace p", ".trace td", ".trace li"):
        assert lines(again, selector) == lines(shown, selector)
    assert "edges from 2.5%" in exported(again, "svg")
    again.click(".gear summary")
    again.evaluate("document.activeElement.blur()")
    names = set()
    for _ in range(60):
        again.keyboard.press("Tab")
        names.add(again.evaluate("document.activeElement.name || document.activeElement.className"))
    assert {"tab-trace", "paths", "cut", "scroll"} <= names
    again.focus(".trace .scroll")
    again.keyboard.press("ArrowRight")  # scrolls the picture and leaves the pin
    assert "pin=t1" in state_of(again)


SMALL = ["a", "b", "c", "d", "e", "f"]


def under(flow: Flow, **settings: str) -> Flow:
    return replace(flow, meta={**flow.meta, "settings": MEAN | settings})


@pytest.mark.parametrize(
    ("change", "state", "words"),
    [
        (
            lambda f: flow_of(TOKENS), "map=composed",
            "cannot be followed (heads: target baseline, writing: target baseline)",
        ),
        (lambda f: flow_of(TOKENS), "map=z2z", "cannot be followed (layers: target baseline)"),
        (
            lambda f: under(f, att_baseline="itb_zero_ratio", layer_baseline="itb"), "map=composed",
            "cannot be followed (heads: target-and-zero baseline, writing: matching baseline)",
        ),
        (
            lambda f: under(f, mlp_baseline="zero", layer_baseline="itb"), "map=composed",
            "Make the page with --trace, or explain with --att-baseline mean --mlp-baseline matching",
        ),
        (
            lambda f: replace(f, layers=(0, 1, 2, 4)), "map=z2z&layer=4",
            "this flow holds 0, 1, 2, 4; explain all of 0 to 4",
        ),
        (
            lambda f: flow_of(TOKENS, layers=4, targets=[1, 4], settings=MEAN), "map=z2z",
            "every token as a target of layer 2, and this flow has 2 of 6",
        ),
        (lambda f: f.hide_special(), "map=composed", "without 2 hidden tokens"),
    ],
)  # fmt: skip
def test_what_python_refuses_to_trace_the_page_refuses_too(
    opened: Open, deep: Flow, change: Callable[[Flow], Flow], state: str, words: str
) -> None:
    flow = change(deep)
    layer, token = flow.layers[-1], flow.tokens.index("keeper")
    with pytest.raises(LigflowError):
        trace(flow, token, which="z2z" if "z2z" in state else "composed")
    shown = opened(flow, state=f"layer={layer}&{state}&trace=1&pin=t{token}")
    assert words in shown.inner_text(".trace p")
    assert words in shown.get_attribute('[name="tab-trace"]', "title")
    assert not shown.is_visible(".trace canvas")
    assert "strongest paths" not in exported(shown, "svg")


@pytest.mark.parametrize("state", ["map=h1", "map=difference", "map=u2z", "map=composed&rule=product"])
def test_other_maps_are_followed_in_those_that_can_be(opened: Open, deep: Flow, state: str) -> None:
    shown = opened(deep, state=f"{state}&layer=3&trace=1&pin=t4")
    assert shown.inner_text(".trace p").startswith("‘keeper’ after layer 3")
    assert "(token to token, through the heads), since those shown cannot be followed" in shown.inner_text(
        ".trace p.faint"
    )
    composed = opened(deep, state="map=composed&layer=3&trace=1&pin=t4")
    assert lines(shown, ".trace li") == lines(composed, ".trace li")
    alone = opened(flow_of(TOKENS, layers=4, routes=("z2u",)), state="map=h1&layer=3&trace=1&pin=t4")
    assert "choose a map of the layer" in alone.inner_text(".trace p")


def test_a_trace_is_made_of_another_flow_of_the_page_where_the_one_shown_cannot_be(
    opened: Open, deep: Flow
) -> None:
    shown = opened(flow_of(TOKENS, layers=4), deep, state="map=composed&layer=3&trace=1&pin=t4")
    assert shown.inner_text(".trace p").startswith("‘keeper’ after layer 3")
    assert "Followed in the maps of made by hand, mean baseline" in shown.inner_text(".trace p.faint")
    itself = opened(deep, state="map=composed&layer=3&trace=1&pin=t4")
    assert lines(shown, ".trace li") == lines(itself, ".trace li")
    assert not shown.get_attribute('[name="tab-trace"]', "title")


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (lambda: flow_of(SMALL, layers=4, settings=MEAN), "The flow of the first step has other tokens."),
        (lambda: flow_of(TOKENS, layers=2, settings=MEAN), "Layer 3 is not in the flow of the first step"),
        (
            lambda: flow_of(TOKENS, layers=4, routes=("z2z",), settings=MEAN),
            "has no map ‘token to token, through the heads’",
        ),
        (lambda: flow_of(TOKENS, layers=4, targets=[1], settings=MEAN), "this flow has 1 of 6"),
        (lambda: flow_of(TOKENS, layers=4), "cannot be followed"),
    ],
)
def test_first_steps_that_do_not_fit(opened: Open, deep: Flow, other: Callable[[], Flow], words: str) -> None:
    shown = opened(deep, other(), state="map=composed&layer=3&trace=1&pin=t4&top=1")
    assert words in shown.inner_text(".trace p")
    shown.click(".gear summary")
    shown.select_option('[name="top"]', "-1")
    assert shown.inner_text(".trace p").startswith("‘keeper’ after layer 3")


def test_a_trace_of_8_bit_maps_says_so(opened: Open, deep: Flow) -> None:
    data = base64.b64encode(pack(deep, exact_bytes=100)).decode()
    coarse = re.sub(r'(class="flow"[^>]*>)[^<]*', lambda m: m[1] + data, page([deep]))
    shown = opened(html=coarse, state="map=z2z&layer=3&trace=1&pin=t4")
    assert "8-bit numbers" in shown.inner_text(".trace p.faint")
    assert "shares sum to 1 at every depth" in shown.inner_text(".trace p.faint")


# --- several flows --------------------------------------------------------------------------------


def test_flows_of_other_settings_can_be_chosen_and_laid_beside(opened: Open, flow: Flow) -> None:
    settings = flow.meta["settings"] | {"layer_baseline": "zero"}
    other = replace(flow_of(TOKENS, seed=4, **WORDS), meta=flow.meta | {"settings": settings})
    shown = opened(flow, other, state="map=z2z&layer=0&special=0&colour=value&beside=1&pin=t2")
    rows = table(shown)
    assert len(rows) == 3 * 36
    close(np.array([float(row["value"]) for row in rows[36:72]]).reshape(6, 6), other.z2z[0])
    assert "layer zero" in rows[36]["flow"]
    close(np.array([float(row["value"]) for row in rows[72:]]).reshape(6, 6), flow.z2z[0] - other.z2z[0])
    assert " minus " in rows[72]["flow"]
    assert shown.inner_text(".details").count("‘light’ is moved by") == 2
    entries = shown.eval_on_selector_all('[name="flow"] option', "all => all.map(e => e.textContent)")
    assert entries[0].startswith("1. [CLS] the light house keeper [SEP] (")
    assert entries[0].endswith("(target baseline)")
    assert entries[1].endswith("layers: zero baseline)")
    svg = exported(shown, "svg")
    assert all(title in svg for title in (*(one[:30] for one in entries), "first minus second"))
    shown.select_option('[name="flow"]', "1")
    close(map_of(opened(flow, other, state="flow=1&map=z2z&layer=0&special=0")), other.z2z[0])


def test_a_flow_file_can_be_opened_beside(opened: Open, flow: Flow, tmp_path: Path) -> None:
    other = flow_of(TOKENS, seed=5, **WORDS)
    shown = opened(flow, state="map=z2z&layer=0&special=0&colour=value")
    shown.set_input_files('input[type="file"]', other.save(tmp_path / "other.safetensors"))
    shown.wait_for_selector('[name="beside"]')
    assert chosen(shown, "beside") == "1"
    rows = table(shown)
    close(np.array([float(row["value"]) for row in rows[36:72]]).reshape(6, 6), other.z2z[0])


def damaged(data: bytes, kind: str) -> bytes:
    length = int.from_bytes(data[:8], "little")
    header = data[8 : 8 + length]
    change = {
        "cut": lambda: data[: len(data) // 2],
        "cut header": lambda: data[:40],
        "foreign": lambda: b"\x89PNG\r\n\x1a\n" + bytes(40),
        "empty": lambda: b"",
        "other": lambda: data.replace(b'"ligflow"', b'"ligflux"', 1),
        "newer": lambda: data.replace(b'\\"format\\": 1', b'\\"format\\": 9', 1),
        "lost": lambda: data[:8] + header.replace(b'"z2z.scale"', b'"z2z.scalx"', 1) + data[8 + length :],
        "tokens": lambda: data.replace(b'\\"targets\\": [0', b'\\"targets\\": [7', 1),
    }
    return change[kind]()


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("cut", "is damaged: tensor"), ("cut header", "it ends within its header"),
        ("foreign", "is not a ligflow flow file"),
        ("empty", "is not a ligflow flow file"), ("other", "is a safetensors file, but not a ligflow flow"),
        ("newer", "has flow format 9, and this page reads up to 1; upgrade ligflow"),
        ("lost", "tensor z2z.scale is missing or does not fit"), ("tokens", "a target is no token"),
    ],
)  # fmt: skip
def test_files_that_are_no_flows_are_refused_in_words(
    opened: Open, flow: Flow, tmp_path: Path, kind: str, words: str
) -> None:
    path = tmp_path / "<b>bad.safetensors"
    path.write_bytes(damaged(flow.save(tmp_path / "good.safetensors").read_bytes(), kind))
    shown = opened(flow)
    shown.set_input_files('input[type="file"]', path)
    shown.wait_for_selector(".message:not([hidden])")
    assert words in shown.inner_text(".message")
    assert shown.inner_text(".message").startswith("<b>bad.safetensors")
    assert map_of(shown).shape == (6, 4)


def test_a_page_whose_data_is_damaged_says_so(opened: Open, flow: Flow) -> None:
    html = re.sub(r'(class="flow"[^>]*>)[A-Za-z0-9+/=]{400}', r"\1", page([flow]))
    shown = opened(html=html)
    assert "flow 1" in shown.inner_text(".message")


def test_a_browser_without_canvas_is_told(opened: Open, flow: Flow) -> None:
    html = page([flow]).replace(
        "<noscript>", "<script>HTMLCanvasElement.prototype.getContext = () => null</script><noscript>"
    )
    assert "has no canvas" in opened(html=html).inner_text(".message")


# --- text from outside ----------------------------------------------------------------------------


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
        body = (VIEW / name).read_text(encoding="utf-8") if name else apart
        route.fulfill(body=body, content_type="text/javascript" if name else "text/html")

    state = "map=composed&layer=3&pin=t4"
    context = browser.new_context(viewport={"width": 1280, "height": 720})
    context.route("http://viewer.test/**", serve)
    shown = context.new_page()
    shown.on("pageerror", lambda error: problems.append(str(error)))
    shown.goto(f"http://viewer.test/#{state}")
    shown.wait_for_selector(".findings li")
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
    shown.click(".gear summary")
    shown.select_option('[name="theme"]', other)
    assert shown.eval_on_selector("body", "e => getComputedStyle(e).backgroundColor") != paper


def test_a_picture_is_exported(opened: Open, flow: Flow) -> None:
    shown = opened(flow)
    with shown.expect_download() as waiting:
        shown.click(".export-png")
    data = Path(waiting.value.path()).read_bytes()
    assert data.startswith(b"\x89PNG")
    assert len(data) > 10_000


# --- what the page holds --------------------------------------------------------------------------


def test_large_maps_are_8_bit_and_the_legend_says_so(opened: Open, flow: Flow) -> None:
    data = pack(flow, exact_bytes=100)
    html = page([flow])
    coarse = re.sub(r'(class="flow"[^>]*>)[^<]*', lambda m: m[1] + base64.b64encode(data).decode(), html)
    shown = opened(html=coarse, state="map=h1&layer=0&special=0")
    step = flow.z2u[0, 1].abs().amax(-1, keepdim=True) / 127
    assert (np.abs(map_of(shown) - flow.z2u[0, 1].numpy()) <= 0.51 * step.numpy()).all()
    assert "z2u" in shown.get_attribute(".legend", "aria-label")
    assert "8-bit numbers" in shown.get_attribute(".legend", "aria-label")
    shown.select_option('[name="map"]', "composed")
    known = flow.composed()[0]
    assert (
        np.abs(map_of(shown) - known.numpy()) <= 0.51 * known.abs().amax(-1, keepdim=True).numpy() / 127
    ).all()


def test_quantised_rows_are_within_half_a_step() -> None:
    maps = torch.randn(3, 4, 50)
    maps[1, 2] = 0
    values, step = quantise(maps)
    assert values.dtype == torch.int8
    assert ((values * step[..., None] - maps).abs() <= 0.5001 * step[..., None]).all()
    assert not values[1, 2].any()


def test_pages_that_no_browser_could_open_are_refused(flow: Flow) -> None:
    with pytest.raises(LigflowError, match="Explain fewer layers or targets, or leave out route z2u"):
        pack(flow, limit_bytes=100)
    with pytest.raises(LigflowError, match="at least one flow"):
        page([])


def test_a_page_can_be_opened_at_a_view(opened: Open, flow: Flow) -> None:
    shown = opened(flow, view="layer=1&map=h2&words=1")
    assert (chosen(shown, "layer"), chosen(shown, "map")) == ("1", "h2")
    shown.select_option('[name="layer"]', "0")
    assert state_of(shown) == "layer=0"
    assert chosen(shown, "special").lower() == "true"
