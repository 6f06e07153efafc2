"""The flow in a browser: links are those of the prediction and add up, and as much is drawn as it says."""

import csv
import io
import re
import xml.etree.ElementTree as ET
from collections import defaultdict
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from hand_made_prediction import prediction_of
from ligflow import Prediction
from ligflow.view.answer_page import page
from pages import Open, state_of

Rows = list[dict[str, Any]]
LEFT, TOP, ROW = 84, 34, 46  # pixels of the picture


@pytest.fixture(scope="module")
def whole() -> Prediction:
    return prediction_of(edges=range(3))


def saved(shown: Any, kind: str = "csv") -> str:
    section = shown.locator("section.flow")
    if section.locator(".save").get_attribute("open") is None:
        section.locator(".save summary").click()
    with shown.expect_download() as waiting:
        section.locator(f".save-{kind}").click()
    return str(Path(waiting.value.path()).read_text(encoding="utf-8"))


def links(shown: Any) -> Rows:
    rows = []
    for row in csv.DictReader(io.StringIO(saved(shown))):
        places = {name: int(row[f"{name} position"] or -1) for name in ("from", "to")}
        cut = row["from cut"]
        layer = int(cut.removeprefix("layer ")) if cut.startswith("layer ") else -1
        part = float(row.get("part of the ways through what is pinned", 0))
        rows.append({"cut": cut, "layer": layer, "kind": row["kind"], "head": row["head"], **places,
                     "value": float(row["relevance"]), "part": part})  # fmt: skip
    return rows


def sums(rows: Rows, kinds: set[str], *by: str, of: str = "value") -> dict[tuple[Any, ...], float]:
    found: defaultdict[tuple[Any, ...], float] = defaultdict(float)
    for row in rows:
        if row["kind"] in kinds:
            found[tuple(row[name] for name in by)] += row[of]
    return found


def check_conserved(rows: Rows, prediction: Prediction) -> None:
    """What arrives at a word is what it has above, what leaves it what it has below; and so at heads."""
    arriving = sums(rows, {"carried by itself", "head", "left out, arriving"}, "cut", "to")
    leaving = sums(rows, {"carried by itself", "read by a head", "left out, leaving"}, "cut", "from")
    for number, cut in enumerate(prediction.cuts[1:-1], 1):
        for place in range(len(prediction.tokens)):
            above, below = (float(prediction.by_depth[n, place]) for n in (number + 1, number))
            assert arriving[cut, place] == pytest.approx(above, abs=1e-5)
            assert leaving[cut, place] == pytest.approx(below, abs=1e-5)
    read = sums(rows, {"read by a head", "left out of a head"}, "layer", "head", "to")
    written = sums(rows, {"head"}, "layer", "head", "to")
    assert {*read} == {*written}
    for node, value in written.items():
        layer, head, place = node
        assert value == pytest.approx(float(prediction.heads[layer][int(head), place]), abs=1e-5)
        assert read[node] == pytest.approx(value, abs=1e-5)


@pytest.mark.parametrize("share", [20, 50, 100])
def test_links_are_those_of_the_prediction_and_add_up(opened: Open, whole: Prediction, share: int) -> None:
    shown = opened(html=page([whole]), state=f"flow={share}")
    rows = links(shown)
    check_conserved(rows, whole)
    edges = [row for row in rows if row["kind"] == "read by a head"]
    for row in edges:
        edge = whole.edges(row["layer"])[int(row["head"]), row["to"], row["from"]]
        assert row["value"] == pytest.approx(float(edge), rel=1e-5)
    for row in rows:
        if row["kind"] == "MLP":
            assert row["value"] == pytest.approx(float(whole.mlps[row["layer"]][row["to"]]), rel=1e-5)
    drawn = sum(abs(row["value"]) for row in rows if row["kind"] in ("read by a head", "MLP"))
    every = sum(float(whole.edges(n).abs().sum() + whole.mlps[n].abs().sum()) for n in range(3))
    said = shown.inner_text("section.flow .caption")
    assert re.search(rf"\b{round(100 * drawn / every)}% of the mass", said)
    assert (
        f"all {len(edges)} links." if share == 100 else f"the {len(edges)} strongest links; the rest"
    ) in said
    assert drawn / every >= share / 100 - 1e-6
    weakest = min(abs(row["value"]) for row in edges)
    stronger = sum(int((whole.edges(n).abs() > weakest * 1.0001).sum()) for n in range(3))
    assert stronger == len(edges) - 1


def test_what_is_not_stored_is_said_and_still_adds_up(opened: Open) -> None:
    some = prediction_of(edges=[1])
    shown = opened(html=page([some]), state="flow=100")
    rows = links(shown)
    check_conserved(rows, some)
    assert {row["layer"] for row in rows if row["kind"] == "read by a head"} == {1}
    assert "What heads of 2 layers read is not stored (--edges all" in shown.inner_text(
        "section.flow .caption"
    )


def test_a_merged_word_has_the_sums_of_its_tokens(opened: Open, whole: Prediction) -> None:
    words = [0, 1, 2, 2, 3, 4]
    meta = {**whole.meta, "words": words, "word_labels": ["<s>", "The", "capital of", "France", "is"],
            "word_places": [*range(5)]}  # fmt: skip
    shown = opened(html=page([replace(whole, meta=meta)]), state="flow=100")
    found = sums(links(shown), {"read by a head"}, "layer", "head", "from", "to")
    edge = whole.edges(2)[1]
    assert found[2, "1", 2, 4] == pytest.approx(float(edge[5, 2] + edge[5, 3]), rel=1e-5)


def shares(values: torch.Tensor, dim: Any) -> torch.Tensor:
    return values.abs() / values.abs().sum(dim, keepdim=True).clamp_min(1e-30)


def ways(prediction: Prediction, layer: int) -> tuple[torch.Tensor, torch.Tensor]:
    """From each word above a layer, how many of its ways go through each head, and to each word below."""
    edges = prediction.edges(layer).double()
    own = prediction.by_depth[layer + 2] - prediction.heads[layer].sum(0)
    taken = shares(torch.cat([own[None], prediction.heads[layer]]), 0)
    down = torch.diag(taken[0]) + (taken[1:, :, None] * shares(edges, -1)).sum(0)
    return taken[1:], down


@pytest.mark.parametrize("pinned", ["word=4", "layer=1&head=1"])
def test_the_ways_through_what_is_pinned_are_those_of_all_ways(
    opened: Open, whole: Prediction, pinned: str
) -> None:
    shown = opened(html=page([whole]), state=f"{pinned}&flow=100")
    rows = links(shown)
    top = shares(whole.by_depth[-1], 0)
    (_, last), (heads, middle), (_, first) = (ways(whole, layer) for layer in (2, 1, 0))
    at_head = (top @ last) * heads[1]
    if pinned == "word=4":
        known, at_head = float((top @ last @ middle @ first)[4]), top @ last * heads[1]
        below = shares(whole.edges(1)[1].double(), -1) @ first[:, 4]
        at_head = at_head * below / known
    else:
        known = float(at_head.sum())
        at_head = at_head / known
    entering = sums(rows, {"carried by itself", "head"}, "layer", of="part")
    leaving = sums(rows, {"carried by itself", "read by a head"}, "layer", of="part")
    for layer in range(3):
        assert entering[layer,] == pytest.approx(1, abs=1e-5)
        assert leaving[layer,] == pytest.approx(1, abs=1e-5)
    parts = sums(rows, {"head"}, "layer", "head", "to", of="part")
    for place in range(1, 6):
        assert parts.get((1, "1", place), 0) == pytest.approx(float(at_head[place]), abs=1e-5)
    said = re.search(r"goes through .*, ([\d.]+)% of all ways", shown.inner_text("section.flow .caption"))
    assert float(said[1]) == pytest.approx(100 * known, abs=0.51)


def past_and_through(prediction: Prediction, layer: int, beside: bool) -> torch.Tensor:
    """Of the ways from each word above a layer, the part that passes its MLP."""
    above, mlp = prediction.by_depth[layer + 2], prediction.mlps[layer]
    own = above - prediction.heads[layer].sum(0)
    taken = shares(torch.cat([own[None], prediction.heads[layer]]), 0)[0]
    if beside:
        return taken * mlp.abs() / (mlp.abs() + (own - mlp).abs()).clamp_min(1e-30)
    return mlp.abs() / (mlp.abs() + (above - mlp).abs()).clamp_min(1e-30)


@pytest.mark.parametrize("beside", [False, True])
def test_a_pinned_mlp_isolates_the_ways_through_it(opened: Open, whole: Prediction, beside: bool) -> None:
    parallel = [0, 1, 2] if beside else []
    prediction = replace(whole, meta={**whole.meta, "parallel": parallel})
    shown = opened(html=page([prediction]), state="layer=1&head=mlp&flow=20")
    rows = links(shown)
    check_conserved(rows, prediction)
    assert {row["to"] for row in rows if (row["layer"], row["kind"]) == (1, "MLP")} == {1, 2, 3, 4, 5}
    (_, last), (heads, middle) = (ways(whole, layer) for layer in (2, 1))
    lower, taken, upper = (past_and_through(whole, layer, beside) for layer in (0, 1, 2))
    top = shares(whole.by_depth[-1], 0)
    passing = (top @ last) * taken  # by word, of all ways
    known = float(passing.sum())
    said = re.search(r"goes through layer 1, MLP, ([\d.]+)% of all ways", shown.inner_text(".flow .caption"))
    assert float(said[1]) == pytest.approx(100 * known, abs=0.51)
    rows = links(opened(html=page([prediction]), state="layer=1&head=mlp&flow=100"))
    entering = sums(rows, {"carried by itself", "head"}, "layer", of="part")
    assert [entering[layer,] for layer in range(3)] == pytest.approx([1] * 3, abs=1e-5)
    below = passing if beside else passing @ middle
    both = top * upper * (taken if beside else last @ taken)  # the ways that pass the MLP above it too
    expected = [below @ lower, known, both.sum()]
    mlp = sums(rows, {"MLP"}, "layer", of="part")
    assert [mlp[layer,] for layer in range(3)] == pytest.approx(
        [float(e) / known for e in expected], abs=1e-5
    )
    parts = sums(rows, {"head"}, "layer", "head", "to", of="part")
    for place in range(1, 6):
        expected_part = 0 if beside else float(passing[place] * heads[1, place]) / known
        assert parts.get((1, "1", place), 0) == pytest.approx(expected_part, abs=1e-5)


def place_of_word(shown: Any, number: int, of: int) -> tuple[float, float]:
    """Where a word stands at the input, in a picture of three layers that shows all words."""
    picture = shown.locator("section.flow canvas.over")
    picture.scroll_into_view_if_needed()
    box = picture.bounding_box()
    room = box["width"] - LEFT - 12
    column = min(210, room / of)
    x = LEFT + (room - of * column) / 2 + (number + 0.5) * column
    return box["x"] + x, box["y"] + TOP + 4 * ROW


def wait_for_address(shown: Any, pattern: str) -> None:
    """The address follows a while after the picture is moved."""
    while not re.fullmatch(pattern, state_of(shown)):
        shown.wait_for_timeout(50)


def test_it_is_moved_and_zoomed_and_a_click_isolates(opened: Open, whole: Prediction) -> None:
    shown = opened(html=page([whole]), viewport={"width": 900, "height": 1200})
    x, y = place_of_word(shown, 4, 6)
    shown.mouse.move(x, y)
    shown.mouse.down()
    shown.mouse.move(x - 30, y)
    shown.mouse.move(x - 60, y)
    shown.mouse.up()
    shown.mouse.move(x - 60, y)
    relevance = float(whole.relevance[4])
    said = shown.inner_text(".tip")
    assert said.startswith("‘France’, before layer 0: ")
    number = float(said.split(": ")[1].split(" (")[0].replace("−", "-"))
    assert number == pytest.approx(relevance, rel=5e-3)
    wait_for_address(shown, "sight=1_.*")  # it was moved, and nothing pinned
    shown.mouse.click(x - 60, y)
    assert "word=4" in state_of(shown)
    assert "what goes through ‘France’" in shown.inner_text("section.flow .caption")
    shown.keyboard.press("+")
    assert re.search(r"Words \d to \d of 6; drag to see others", shown.inner_text(".flow-tools"))
    shown.keyboard.press("0")
    assert "of 6" not in shown.inner_text(".flow-tools")
    wait_for_address(shown, "word=4&layer=0")


def test_a_link_reopens_the_flow_where_it_was(opened: Open, whole: Prediction) -> None:
    shown = opened(html=page([whole]), viewport={"width": 900, "height": 1200})
    picture = shown.locator("section.flow canvas.over")
    picture.focus()
    for key in ("+", "+", "+", "ArrowLeft", "ArrowDown"):
        shown.keyboard.press(key)
    wait_for_address(shown, "sight=2.744_.*")
    pixels = "document.querySelector('section.flow canvas').toDataURL()"
    link, drawn = state_of(shown), shown.evaluate(pixels)
    said = shown.inner_text(".flow-tools")
    assert "of 6; drag" in said
    shown.keyboard.press("0")
    assert shown.evaluate(pixels) != drawn
    again = opened(html=page([whole]), state=link, viewport={"width": 900, "height": 1200})
    assert again.evaluate(pixels) == drawn
    other = opened(html=page([whole]), state=f"{link}&word=4", viewport={"width": 700, "height": 1200})
    words = [
        int(each)
        for text in (said, other.inner_text(".flow-tools"))
        for each in re.findall(r"Words (\d) to (\d)", text)[0]
    ]
    assert sum(words[:2]) == sum(words[2:])  # around the same word in a window of another width
    other.locator("section.flow canvas.over").focus()
    other.keyboard.press("0")
    wait_for_address(other, "word=4")
    hostile = opened(html=page([whole]), state="sight=0_0_-9999999.5")
    assert "of 6" not in hostile.inner_text(".flow-tools")


def test_the_share_that_is_drawn_is_chosen_and_stands_in_the_address(opened: Open, whole: Prediction) -> None:
    shown = opened(html=page([whole]))
    shown.locator(".flow-tools input").fill("85")
    assert state_of(shown) == "flow=85"
    assert int(re.search(r"(\d+)% of the mass", shown.inner_text("section.flow .caption"))[1]) >= 85
    ET.fromstring(saved(shown, "svg"))


def test_each_layer_is_named_where_its_heads_stand(opened: Open, whole: Prediction) -> None:
    shown = opened(html=page([whole]))
    nodes = [*ET.fromstring(saved(shown, "svg")).iter()]
    named = {n.text: float(n.attrib["y"]) for n in nodes if n.text and n.attrib.get("text-anchor") == "end"}
    assert {*named} == {"tokens", "layer 0", "layer 1", "layer 2", "answer"}
    for place, name in enumerate(["answer", "layer 2", "layer 1", "layer 0"]):
        assert named[name] == pytest.approx(TOP + (place + 0.5) * ROW)
    squares = [float(n.attrib["y"]) for n in nodes if n.attrib.get("width") == n.attrib.get("height") == "9"]
    for y in squares:
        assert min(abs(y + 4.5 - named[f"layer {layer}"]) for layer in range(3)) < ROW / 4


def test_ribbons_leave_a_word_without_crossing(opened: Open, whole: Prediction) -> None:
    """They leave it in the order of where they lead, and enter another from the side from which they come."""
    shown = opened(html=page([whole]), state="flow=80")
    paths = [n.attrib for n in ET.fromstring(saved(shown, "svg")).iter() if n.attrib.get("opacity") == "0.75"]
    curves = [[float(x) for x in re.findall(r"-?[\d.]+", p["d"])] for p in paths if p["fill"] == "none"]
    edges = [(x1, x2, round(y1)) for x1, y1, *_, x2, y2 in curves if y1 - y2 > ROW / 2 and y2 > TOP]
    column = (960 - LEFT - 12) / 6
    assert len(edges) > 20
    across = [edge for edge in edges if (edge[0] - LEFT) // column != (edge[1] - LEFT) // column]
    for _, x2, _ in across:
        assert (x2 - LEFT) % column < column / 2  # a decoder's heads read what is on their left
    words = defaultdict(list)
    for edge in edges:
        words[edge[2], (edge[0] - LEFT) // column].append(edge)
    for leaving in words.values():
        places = [x2 for _, x2, _ in sorted(leaving)]
        assert all(after > place - 1 for place, after in pairwise(places))
