"""A token followed down to the input on the page, as in Python."""

import base64
import itertools
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from browser import flow_of
from ligflow import Flow, LigflowError
from ligflow.results.tracing import trace
from ligflow.view.interactive_page import module, page
from ligflow.view.payload import pack
from pages import (
    MEAN,
    TOKENS,
    WORDS,
    Open,
    exported,
    lines,
    state_of,
)


@pytest.fixture(scope="module")
def flow() -> Flow:
    return flow_of(TOKENS, **WORDS)


TRACE = """async ([module, state, token, count, cut]) => {
  const m = await import(URL.createObjectURL(new Blob([module], { type: "text/javascript" })));
  const files = [...document.querySelectorAll("script.flow")].map((one) => one.textContent.trim());
  const [flow, top] = files.map((data) => m.openFlow(m.fromBase64(data), "x"));
  const found = m.traceOf(flow, { rule: "conserving", ...state }, token, top || null);
  return { relevance: found.relevance.map((row) => [...row]), certificates: found.certificates,
    errors: found.errors, drift: found.drift, amount: found.amount, unmet: found.unmet, still: found.still,
    layers: found.layers,
    edges: m.edgesOf(found, cut), paths: m.strongestPaths(found.shares, found.start, count) };
}"""


def carrying(flow: Flow) -> Flow:
    """A flow whose starts are carried: rows share out totals, which their sums miss by up to 5%."""
    tensors = dict(flow.tensors)
    for number, route in enumerate(("z2u", "u2z", "z2z")):
        draw = torch.Generator().manual_seed(number)
        total = tensors[f"{route}.total"]
        tensors[f"{route}.total"] = total * (1 + 0.05 * torch.rand(total.shape, generator=draw))
    return replace(
        flow, tensors=tensors, meta=flow.meta | {"settings": flow.meta["settings"] | {"carried": True}}
    )


def followed(
    opened: Open, flows: list[Flow], token: int, count: int = 5, cut: float = 0.05, **state: Any
) -> Any:
    html = page(flows).replace("script-src 'unsafe-inline'", "script-src 'unsafe-inline' blob:")
    return opened(html=html).evaluate(TRACE, [module(), state, token, count, cut])


@pytest.mark.parametrize("words", [0, 1])
@pytest.mark.parametrize("which", ["composed", "z2z"])
@pytest.mark.parametrize("under", [False])
@pytest.mark.parametrize("carried", [False, True])
def test_a_trace_is_that_of_python(
    opened: Open, deep: Flow, which: str, words: int, under: bool, carried: bool
) -> None:
    """Relevance at every depth, certificates, paths and edges; of words, and with another first step."""
    deep = carrying(deep) if carried else deep
    top = flow_of(TOKENS, layers=4, targets=[4], seed=9, settings=MEAN, **WORDS) if under else None
    seen = deep.merge_words() if words else deep
    seen_top = top.merge_words() if top and words else top
    known = trace(seen, seen.tokens.index("keeper"), which=which, top=seen_top)
    given = [deep, top] if top else [deep]
    found = followed(opened, given, 4, 7, 0.05, map=which, layer=3, words=words)
    assert found["layers"] == [3, 2, 1, 0]
    np.testing.assert_allclose(found["relevance"], known.relevance.numpy(), rtol=2e-4, atol=1e-5)
    np.testing.assert_allclose(found["certificates"], known.certificates.numpy(), rtol=1e-3, atol=1e-8)
    np.testing.assert_allclose(found["errors"], known.errors.numpy(), rtol=1e-3, atol=1e-8)
    assert known.errors[-1] > 0
    assert found["drift"] == pytest.approx(known.drift, rel=1e-3, abs=1e-12)
    assert (known.drift > 1e-3) == carried
    assert found["amount"] == (pytest.approx(known.amount, rel=1e-5) if carried else None)
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
    estimate = f"{float(known.errors[-1]):.0e}".replace("e-0", "e-").replace("e+00", "e+0")
    assert f"estimated error of the input’s shares, added up: {estimate}" in about
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
    shown.click('[name="more"]')
    for name, value in (("paths", "2"), ("cut", "2.5")):
        shown.fill(f'[name="{name}"]', value)
        shown.keyboard.press("Tab")
    assert len(lines(shown, ".trace li")) == 2
    again = opened(deep, state=state_of(shown))
    for selector in (".trace p", ".trace td", ".trace li"):
        assert lines(again, selector) == lines(shown, selector)
    assert "edges from 2.5%" in exported(again, "svg")
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


def padded(flow: Flow) -> Flow:
    """As if padding held a tenth of every row."""
    hidden = {f"{route}.hidden": flow.total(route) / 10 for route in ("z2u", "z2z")}
    return replace(flow, tensors={**flow.tensors, **hidden})


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
        (padded, "map=z2z", "Padding takes part in these maps"),
        (padded, "map=composed", "Padding takes part in these maps"),
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
    assert words in shown.get_attribute('[name="tab-trace"]', "aria-description")
    assert not shown.is_visible(".trace canvas")
    assert "strongest paths" not in exported(shown, "svg")


def test_other_maps_are_followed_in_those_that_can_be(opened: Open, deep: Flow) -> None:
    composed = opened(deep, state="map=composed&layer=3&trace=1&pin=t4")
    for state in ("map=h1", "map=difference", "map=u2z", "map=composed&rule=product"):
        shown = opened(deep, state=f"{state}&layer=3&trace=1&pin=t4")
        assert shown.inner_text(".trace p").startswith("‘keeper’ after layer 3"), state
        assert (
            "(token to token, through the heads), since those shown cannot be followed"
            in shown.inner_text(".trace p.faint")
        ), state
        assert lines(shown, ".trace li") == lines(composed, ".trace li"), state
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
    assert not shown.get_attribute('[name="tab-trace"]', "class")


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
    shown.click('[name="more"]')
    shown.select_option('[name="top"]', "-1")
    assert shown.inner_text(".trace p").startswith("‘keeper’ after layer 3")


def test_a_trace_of_8_bit_maps_says_so(opened: Open, deep: Flow) -> None:
    data = base64.b64encode(pack(deep, exact_bytes=100)).decode()
    coarse = re.sub(r'(class="flow"[^>]*>)[^<]*', lambda m: m[1] + data, page([deep]))
    shown = opened(html=coarse, state="map=z2z&layer=3&trace=1&pin=t4")
    assert "8-bit numbers" in shown.inner_text(".trace p.faint")
    assert "shares sum to 1 at every depth" in shown.inner_text(".trace p.faint")
