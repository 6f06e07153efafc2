"""The page of predictions in a browser: its numbers are the tensors, and every view follows a choice."""

import base64
import csv
import io
import json
import math
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load

from hand_made_prediction import answer_of, prediction_of
from ligflow import Prediction, view
from ligflow.errors import LigflowError
from ligflow.results.prediction_sums import total
from ligflow.view.answer_page import module, page
from ligflow.view.prediction_payload import pack
from pages import GO, HOSTILE, Open, lines, state_of

VIEWER = Path(view.__file__).parent


@pytest.fixture(scope="module")
def first() -> Prediction:
    return prediction_of(edges=range(3), parts=range(3))


@pytest.fixture(scope="module")
def second() -> Prediction:
    made = prediction_of(edges=range(3), change=5.0, seed=4)
    return replace(made, meta={**made.meta, "question": " Rome"})


def saved(shown: Any, name: str, kind: str = "csv") -> str:
    """What a view saves."""
    section = shown.locator(f"section.{name}")
    if section.locator(".save").get_attribute("open") is None:
        section.locator(".save summary").click()
    with shown.expect_download() as waiting:
        section.locator(f".save-{kind}").click()
    return str(Path(waiting.value.path()).read_text(encoding="utf-8"))


def table(shown: Any, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(saved(shown, name))))


def column(shown: Any, name: str, title: str = "relevance") -> np.ndarray:
    """A column of numbers of what a view saves, edges of heads left out."""
    return np.array([float(row[title]) for row in table(shown, name) if not row.get("source")])


def same(numbers: np.ndarray, tensor: torch.Tensor) -> None:
    np.testing.assert_allclose(numbers, tensor.double().flatten().numpy(), rtol=1e-5, atol=1e-6)


def of_heads(prediction: Prediction) -> torch.Tensor:
    """Relevance by layer, heads and the MLP, and token."""
    return torch.stack(
        [torch.cat([prediction.heads[n].double(), prediction.mlps[n].double()[None]]) for n in range(3)]
    )


def test_the_numbers_of_every_view_are_those_of_the_tensors(opened: Open, first: Prediction) -> None:
    shown = opened(html=page([first]))
    same(column(shown, "words"), first.relevance)
    same(column(shown, "words", "estimated error"), first.error)
    same(column(shown, "depth"), first.by_depth)
    same(column(shown, "heads"), of_heads(first))
    same(column(shown, "heads", "share"), of_heads(first) / first.scale)
    assert shown.text_content("h1") == "The model says ‘Paris’ 61%"
    assert lines(shown, ".running span") == ["<|endoftext|>", "The", "capital", "of", "France", "is"]
    for name in ("words", "depth", "heads"):
        ET.fromstring(saved(shown, name, "svg"))


def test_another_prediction_changes_everything(opened: Open, first: Prediction, second: Prediction) -> None:
    shown = opened(html=page([first, second]))
    shown.click("text=Rome")
    assert state_of(shown) == "prediction=1"
    assert shown.text_content("h1") == "Why ‘Rome’?"
    same(column(shown, "words"), second.relevance)
    same(column(shown, "depth"), second.by_depth)
    same(column(shown, "heads"), of_heads(second))
    shown.go_back()
    assert shown.text_content("h1").startswith("The model says")
    same(column(shown, "words"), first.relevance)


def test_a_sentence_takes_less_than_a_megabyte_and_names_tell_predictions_apart(first: Prediction) -> None:
    tokens = [f" w{number}" for number in range(40)]
    large = prediction_of(tokens, layers=30, head_count=9, edges=range(30), parts=range(30))
    assert len(page([large])) < 1e6
    other = replace(first, meta={**first.meta, "reference": "mean"})
    apart = ["Paris, with ‘<unk>’ for every word", "Paris, with the mean of all words for every word"]
    for pair, names in (((first, first), ["1. Paris", "2. Paris"]), ((first, other), apart)):
        blocks = re.findall(r'class="prediction" data-name="([^"]*)"', page(pair))
        assert [json.loads(unescape(name)) for name in blocks] == names
    with pytest.raises(LigflowError, match="at least one"):
        page([])


def test_rows_of_an_answer_are_chosen_and_add_up(opened: Open) -> None:
    answer = answer_of(edges=range(3), parts=range(3))
    prompt = torch.stack([row.relevance for row in answer.rows])
    shown = opened(html=page([answer.rows]))
    same(column(shown, "answer"), prompt)
    assert shown.text_content("h1") == "The answer ‘Paris, of’"
    for state, rows in (("", answer.rows), ("rows=1", answer.rows[1:2]), ("rows=0-1", answer.rows[:2])):
        if state:
            shown.evaluate(GO, state)
        known = total(rows)
        same(column(shown, "words"), known.relevance)
        same(column(shown, "heads"), of_heads(known))


def edges(shown: Any, prediction: Prediction) -> torch.Tensor:
    """The edges that a page saves, [target, source]."""
    matrix = torch.zeros(len(prediction.tokens), len(prediction.tokens))
    for row in table(shown, "heads"):
        if row["source"]:
            matrix[int(row["position"]), int(row["source"])] = float(row["relevance"])
    return matrix


def test_what_a_head_reads_is_that_of_the_tensors(opened: Open, first: Prediction) -> None:
    shown = opened(html=page([first]), state="layer=2&head=1")
    torch.testing.assert_close(edges(shown, first), first.edges(2)[1])
    assert "Drawn: 100% of the mass of what it reads" in shown.inner_text(".detail")
    shown.click("text=what it asked")
    torch.testing.assert_close(edges(shown, first), first.edges(2, parts=True).query[1])


def test_the_strongest_steps_between_words_are_said_and_lead_there(opened: Open, first: Prediction) -> None:
    every = torch.stack([first.edges(layer) for layer in range(3)])
    between = every * (1 - torch.eye(every.shape[-1]))
    layer, head, target, source = (int(n) for n in torch.unravel_index(between.abs().argmax(), every.shape))
    shown = opened(html=page([first]))
    said = shown.locator(".steps li").first.inner_text()
    names = [first.tokens[place].strip() for place in (source, target)]
    assert said.startswith(f"‘{names[0]}’ to ‘{names[1]}’: layer {layer}, head {head}, ")
    value = said.split(", ")[2].split(" (")[0].replace("−", "-")
    assert float(value) == pytest.approx(float(every[layer, head, target, source]), rel=5e-3)
    shown.emulate_media(reduced_motion="reduce")
    shown.locator(".steps button").first.click()
    assert state_of(shown) == f"word={source}&layer={layer}&head={head}"
    assert abs(shown.locator("section.heads").bounding_box()["y"]) < shown.viewport_size["height"] / 2
    assert shown.evaluate("document.activeElement.closest('.steps') !== null")  # the focus stays
    assert shown.inner_text(".detail h3").endswith(", at all tokens together")


def test_what_another_prediction_of_the_same_runs_knows_is_said_of_its_output(
    opened: Open, first: Prediction
) -> None:
    other = replace(first, value=-3.0, reference_value=-6.0, meta={**first.meta, "question": " Rome"})
    elsewhere = replace(other, meta={**other.meta, "question": " Oslo", "reference": "mean"})
    shown = opened(html=page([first, replace(other, top=first.top), elsewhere]), state="prediction=1")
    rows = [row.replace(" ", "") for row in lines(shown, ".outputs tbody tr")]
    assert math.exp(first.reference_value) < 0.0005
    assert f"‘Paris’{100 * math.exp(first.value):.1f}%<0.1%" in rows
    assert "‘Rome’5.0%0.2%" in rows
    assert not any("Oslo" in row for row in rows)
    shown.evaluate(GO, "prediction=2")
    assert "under" in shown.inner_text(".outputs")  # another reference: nothing is known of Paris there


def test_what_is_said_at_the_pointer_is_true_and_leaves_the_word_free(
    opened: Open, first: Prediction
) -> None:
    shown = opened(html=page([first]))
    word = shown.locator(".running span[data-word]").nth(4)
    word.hover()
    tip = shown.locator(".tip")
    box, line = tip.bounding_box(), word.bounding_box()
    assert box["y"] >= line["y"] + line["height"] or box["y"] + box["height"] <= line["y"]
    shown.evaluate(GO, "layer=2&head=mlp")
    assert "Hatched at the input" in shown.inner_text("section.depth .caption")
    shown.hover("section.depth canvas.over", position={"x": 120, "y": 8 + 17 * 3.5})
    assert re.match("‘.*’, before layer 0: ", shown.inner_text(".tip"))
    over = shown.locator("section.heads canvas.over").first
    for x, said in ((70, "Click to see what it read."), (None, "Click to see how to get its hidden units.")):
        size = over.bounding_box()
        over.hover(position={"x": x or size["width"] - 16, "y": 12})
        assert tip.inner_text().endswith(said)


def test_of_many_edges_the_strongest_are_there_and_their_share_is_said() -> None:
    prediction = prediction_of(edges=range(3))
    kept = load(pack(prediction, edge_bytes=8 * 10))
    values = torch.cat([kept[f"edges.{layer}"] for layer in range(3)])
    every = torch.stack([prediction.edges(layer) for layer in range(3)])
    known = every.flatten()[every.abs().flatten().topk(10).indices]
    assert values.sort().values.tolist() == known.sort().values.tolist()
    data = pack(prediction, edge_bytes=8 * 10)
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
    mass = json.loads(header["ligflow_prediction"])["page"]["edge_mass"]
    assert mass == pytest.approx([float(known.abs().sum()), float(every.abs().sum())])


def test_a_long_text_has_an_overview_and_a_window(opened: Open) -> None:
    tokens = [f" w{number}" for number in range(2000)]
    draw = torch.Generator().manual_seed(0)
    small = prediction_of(layers=80)
    turns = [["1 user", [*range(5, 900)]], ["2 user", [*range(900, 1990)]]]
    nodes = {layer: torch.randn(2, 2000, generator=draw) for layer in range(80)}
    prediction = replace(
        small, tokens=tokens, special=(False,) * 2000, kept=(False,) * 2000,
        by_depth=torch.randn(82, 2000, generator=draw), late=torch.zeros(82, 2000),
        error=torch.zeros(2000), heads=nodes, mlps={}, residual={},
        meta={**small.meta, "spans": {"turns": turns}},
    )  # fmt: skip
    shown = opened(html=page([prediction]), state="word=1500")
    assert lines(shown, ".running .marked") == ["w1500"]
    assert shown.inner_text(".depth .window p").startswith("Words 1")
    folds = lines(shown, ".fold")
    assert [fold.split(",")[0] for fold in folds] == ["… 5 of the template", "… 10 of the template"]
    assert not shown.is_visible(".view.flow canvas")  # it is drawn when it is asked for
    shown.fill('[type="search"]', "w77")
    shown.press('[type="search"]', "Enter")
    assert lines(shown, ".running .marked") == ["w77"]
    same(column(shown, "words"), prediction.relevance)
    shares = {row["passage"]: float(row["relevance"]) for row in table(shown, "passages")}
    assert shares["2 user"] == pytest.approx(float(prediction.relevance[900:1990].sum()), rel=1e-4)


def test_text_from_outside_is_shown_and_never_run(opened: Open) -> None:
    prediction = prediction_of(
        [*HOSTILE, " is"], kept=[], edges=range(3), top=((HOSTILE[1], 0.5), ("<b>", 0.1))
    )
    meta = {**prediction.meta, "question": HOSTILE[1], "model": HOSTILE[0], "text": "</title><script>"}
    prediction = replace(prediction, meta={**meta, "notes": [HOSTILE[1]]})
    shown = opened(html=page([prediction], [HOSTILE[1]]))
    for name in ("words", "depth", "heads"):
        svg = saved(shown, name, "svg")
        ET.fromstring(svg)
        assert not re.search("<script|<img", svg)
        assert HOSTILE[3] in saved(shown, name)
    assert "=1+1" in [next(iter(row.values())) for row in table(shown, "words")]  # data, and not changed
    shown.locator(".running span").nth(1).hover()
    assert shown.evaluate("window.hacked") is None
    assert shown.query_selector("body img, body b:not(section *)") is None
    assert "a\\u202eb" in shown.text_content(".running")
    assert HOSTILE[1] in shown.text_content("h1")


def test_what_is_pinned_stands_in_the_address_and_is_marked_everywhere(
    opened: Open, first: Prediction
) -> None:
    shown = opened(html=page([first]))
    shown.locator(".running span").nth(4).click()
    assert state_of(shown) == "word=4"
    assert lines(shown, ".running .marked") == ["France"]
    assert lines(shown, ".bysize .marked .name") == ["France"]
    again = opened(html=page([first]), state="word=4&layer=2&head=1&part=key")
    assert lines(again, ".running .marked") == ["France"]
    sum_of_head = float(first.heads[2][1].sum())
    said = again.text_content(".detail h3")
    assert said.startswith("Layer 2, head 1: ")
    assert float(said.split(": ")[1].split(" (")[0].replace("−", "-")) == pytest.approx(sum_of_head, rel=5e-3)
    assert lines(again, '.detail [aria-pressed="true"]') == ["where it found it"]
    assert state_of(opened(html=page([first]), state="word=99&layer=7&rows=4-9&head=x3")) != ""


def test_all_of_it_works_from_the_keyboard(opened: Open, first: Prediction) -> None:
    shown = opened(html=page([first]))
    shown.focus(".running span[tabindex]")
    for key, state in (
        ("ArrowRight", "word=0"), ("ArrowRight", "word=1"), ("Escape", ""),
    ):  # fmt: skip
        shown.keyboard.press(key)
        assert state_of(shown) == state
    shown.focus(".heads canvas.over")
    for key, state in (
        ("ArrowRight", "layer=2&head=1"), ("ArrowDown", "layer=1&head=1"), ("ArrowRight", "layer=1&head=mlp"),
    ):  # fmt: skip
        shown.keyboard.press(key)
        assert state_of(shown) == state
    shown.focus(".depth canvas.over")
    shown.keyboard.press("ArrowUp")
    shown.keyboard.press("ArrowRight")
    assert state_of(shown) == "word=0&layer=2"


def test_a_picture_is_twice_its_size_and_signs_have_patterns(opened: Open, first: Prediction) -> None:
    shown = opened(html=page([first]), state="patterns=1")
    svg = saved(shown, "depth", "svg")
    negative = int((first.by_depth < -0.01 * float(first.relevance.abs().max())).sum())
    assert svg.count('<pattern id="hatch') == negative + len([t for t in first.kept if t]) + 1  # the legend
    with shown.expect_download() as waiting:
        shown.click(".depth .save-png")
    data = Path(waiting.value.path()).read_bytes()
    size = ET.fromstring(svg).attrib
    assert int.from_bytes(data[16:20], "big") == 2 * int(size["width"])
    assert int.from_bytes(data[20:24], "big") == pytest.approx(2 * int(size["height"]), abs=2)


@pytest.mark.parametrize(("width", "colours"), [(1280, "light"), (390, "dark")])
def test_it_fits_and_follows_the_systems_colours(
    opened: Open, first: Prediction, width: int, colours: str
) -> None:
    shown = opened(html=page([first]), viewport={"width": width, "height": 800}, color_scheme=colours)
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    paper = shown.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == {"light": "rgb(255, 255, 255)", "dark": "rgb(22, 25, 31)"}[colours]


def test_the_files_of_the_viewer_import_all_they_use(browser: Any, opened: Open, first: Prediction) -> None:
    """Apart, each with its imports, they draw the same as in a row."""
    whole = page([first])
    apart = whole.replace(module(), 'import { mountAnswer } from "./answer_viewer/answer_viewer.js";\n')
    apart = apart.replace("script-src", "script-src http://viewer.test")
    problems: list[str] = []

    def serve(route: Any) -> None:
        name = re.sub(r"^http://viewer.test/|#.*", "", route.request.url)
        body = (VIEWER / name).read_text(encoding="utf-8") if name else apart
        route.fulfill(body=body, content_type="text/javascript" if name else "text/html")

    context = browser.new_context()
    context.route("http://viewer.test/**", serve)
    shown = context.new_page()
    shown.on("pageerror", lambda error: problems.append(str(error)))
    shown.goto("http://viewer.test/#layer=2&head=1")
    shown.wait_for_selector(".running span")
    together = opened(html=whole, state="layer=2&head=1")
    for name in ("words", "depth", "heads"):
        assert saved(shown, name, "svg") == saved(together, name, "svg")
    context.close()
    assert problems == []


PIXELS = """async (base64) => {
  const clipboard = async () => (await navigator.clipboard.read())[0].getType("image/png");
  const bytes = () => Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const image = base64 ? new Blob([bytes()], { type: "image/png" }) : await clipboard();
  const bitmap = await createImageBitmap(image);
  const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
  context.drawImage(bitmap, 0, 0);
  const { data } = context.getImageData(0, 0, bitmap.width, bitmap.height);
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", data));
  return [bitmap.width, bitmap.height, String(hash)];
}"""


@pytest.mark.parametrize("name", ["flow", "heads"])
def test_what_is_copied_is_the_png(opened: Open, first: Prediction, name: str) -> None:
    shown = opened(html=page([first]), viewport={"width": 1000, "height": 900})
    shown.context.grant_permissions(["clipboard-read", "clipboard-write"])
    section = shown.locator(f"section.{name}")
    section.locator(".save summary").click()
    section.locator(".save-copy").click()
    section.get_by_text("Copied.").wait_for()
    with shown.expect_download() as waiting:
        section.locator(".save-png").click()
    data = Path(waiting.value.path()).read_bytes()
    saved_size = [int.from_bytes(data[at : at + 4], "big") for at in (16, 20)]
    copied = shown.evaluate(PIXELS, "")
    assert copied[:2] == saved_size
    assert min(saved_size) > 300
    assert copied == shown.evaluate(PIXELS, base64.b64encode(data).decode())


def test_a_browser_that_copies_no_images_says_so(opened: Open, first: Prediction) -> None:
    shown = opened(html=page([first]))
    shown.evaluate("() => { navigator.clipboard.write = () => Promise.reject(new Error()); }")
    section = shown.locator("section.flow")
    section.locator(".save summary").click()
    section.locator(".save-copy").click()
    section.get_by_text("save the PNG instead").wait_for()


@pytest.mark.parametrize(
    ("width", "words", "beside"), [(1400, 6, True), (1280, 6, True), (1000, 6, False), (1400, 10, False)]
)
def test_a_wide_page_sets_heads_beside_words_over_depth(
    opened: Open, width: int, words: int, beside: bool
) -> None:
    tokens = ["<s>", *("word" for _ in range(words - 1))]
    shown = opened(
        html=page([prediction_of(tokens, edges=range(3))]), viewport={"width": width, "height": 900}
    )
    depth, heads, detail = (
        shown.locator(name).bounding_box() for name in ("section.depth", "section.heads", ".heads .detail")
    )
    assert (heads["y"] == depth["y"], heads["x"] > depth["x"] + depth["width"]) == (beside, beside)
    assert detail["x"] > heads["x"] + 100  # what a head read stands beside the map of heads
    assert shown.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
