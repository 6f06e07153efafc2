"""What stands around the picture: it stays in its place while tokens are pinned, and is explained."""

import re
import xml.etree.ElementTree as ET
from typing import Any

import torch

from browser import flow_of
from ligflow import from_attentions
from pages import TOKENS, WORDS, Open, exported, heat_place, state_of


def top(shown: Any) -> float:
    """Where the picture begins, from the top of the page."""
    return float(shown.eval_on_selector(".views", "e => e.getBoundingClientRect().top + scrollY"))


def ladder_place(shown: Any, label: str) -> tuple[float, float]:
    """Where a node of the ladder is on the screen, from the exported picture, which begins 68 above it."""
    svg = ET.fromstring(exported(shown, "svg"))
    node = next(n for n in svg.iter() if n.text == label)
    box = shown.query_selector_all("canvas.over")[0].bounding_box()
    return box["x"] + float(node.attrib["x"]), box["y"] + float(node.attrib["y"]) - 68


def percent(share: torch.Tensor) -> str:
    return f"{100 * float(share):.{1 if abs(share) < 0.0995 else 0}f}%"


def test_a_pinned_head_says_what_it_reads_and_the_picture_stays(opened: Open) -> None:
    flow = flow_of(TOKENS, **WORDS)
    shown = opened(flow, state="map=composed&layer=1&pin=t0")
    start = top(shown)
    shown.mouse.click(*ladder_place(shown, "h1"))
    assert "pin=h1" in state_of(shown)
    assert top(shown) == start
    reads = flow.z2u[1, 1, :, 1:5]
    mean = (reads / reads.abs().sum(-1, keepdim=True)).mean(0)
    best = int(mean.abs().argmax())
    said = shown.inner_text(".says")
    assert said.startswith(f"Head 1 of layer 1 reads most from {TOKENS[1 + best]} {percent(mean[best])},")
    at = reads[0] / reads[0].abs().sum()  # [CLS], of which the findings are
    best = int(at.abs().argmax())
    written = flow.u2z[1, :, 0].abs().sum() + flow.u2z_residual[1, 0].abs()
    told = shown.inner_text(".details")
    assert told.startswith(f"head 1 reads ‘{TOKENS[1 + best]}’ {percent(at[best])}, ")
    share = percent(flow.u2z[1, 1, 0] / written)
    assert told.endswith(f" at ‘[CLS]’, and writes {share} of what moves it; ✓ certified")
    for place in (heat_place(shown, 3, 0), heat_place(shown, 3, 0)):  # pinned, and free again
        shown.mouse.click(*place)
        assert top(shown) == start


def test_a_white_diagonal_the_scale_and_the_keys_are_explained(opened: Open) -> None:
    flow = flow_of(TOKENS)
    shown = opened(flow, state="map=z2z&layer=1&pin=t3")
    assert "1 2 3 questions" in shown.text_content("footer")
    assert "diagonal is white" not in shown.text_content("footer")
    assert "starts as the target’s own vector" in shown.get_attribute(".model", "aria-description")
    shares = [m[:, 1:5] / m[:, 1:5].abs().sum(-1, keepdim=True) for m in (flow.z2z[1], flow.composed()[1])]
    assert shares[0].abs().max() != shares[1].abs().max()
    scale = str(shown.get_attribute(".legend", "aria-description"))
    assert re.search(rf"(in sight is |Full colour is ){percent(shares[0].abs().max())}", scale)
    flow.tensors["z2z"].diagonal(dim1=1, dim2=2).zero_()
    white = opened(flow, state="map=z2z&layer=1&pin=t3", viewport={"width": 1280, "height": 720})
    assert "diagonal is white" in white.text_content("footer")
    assert "moves nothing" in white.get_attribute(".caption", "aria-description")
    white.keyboard.press("x")
    assert white.inner_text(".caption") == (
        "The stronger the shade of a token, the more it moved ‘house’ in layer 1; "
        "blue moves it on, orange holds it back."
    )


def test_a_page_of_attention_weights_speaks_of_attention_everywhere(opened: Open) -> None:
    weights = torch.full((2, 1, 3, len(TOKENS), len(TOKENS)), 1 / len(TOKENS))
    shown = opened(from_attentions([*weights], TOKENS), state="more=1")
    assert shown.locator('[name="colour"] option').first.text_content() == "% of the token’s attention"
    assert not re.search("moved|made from|✓", str(shown.text_content("footer") + shown.inner_text(".gear")))
    assert "2 question ·" in shown.text_content("footer")
