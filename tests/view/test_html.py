"""The static piece of HTML: orientation, escaping, unmet rows."""

import re
from dataclasses import replace
from html import unescape

import pytest

from architectures import ARCHITECTURES, example
from five_tokens import HOSTILE, TOKENS, direct_only, with_unmet
from ligflow import Explainer, Flow
from ligflow.inputs.labels import printable
from ligflow.view.colour import shade
from ligflow.view.html import fragment
from ligflow.view.interactive_page import page

_CELL = r"<(th|td)([^>]*)>(.*?)</\1>"


def rows_of(html: str) -> list[list[tuple[str, str]]]:
    """Every row of every table, as (text, attributes) cells."""
    rows = re.findall(r"<tr>(.*?)</tr>", html, re.DOTALL)
    return [
        [(unescape(text), attributes) for _, attributes, text in re.findall(_CELL, row, re.DOTALL)]
        for row in rows
    ]


def figure_of(html: str, caption: str, number: int = 0) -> list[list[tuple[str, str]]]:
    """The rows of the heat map with a caption."""
    figures = [part for part in html.split("<figure>") if f"<figcaption>{caption}" in part]
    return rows_of(figures[number].split("</figure>")[0])


def test_the_large_cell_is_in_its_targets_row_and_its_sources_column(flow: Flow) -> None:
    head, old, house = figure_of(fragment(direct_only(flow)), "Layer 1: token to token")
    assert [text for text, _ in head] == ["", *TOKENS]
    assert [text for text, _ in old] == ["old", "60", "-20", "20", "", ""]
    assert [text for text, _ in house] == ["house", "5", "", "", "5", "90"]
    assert f"background:{shade(0.9)}" in house[5][1]
    assert 'title="9"' in house[5][1]
    assert f"background:{shade(-0.2)}" in old[2][1]


def test_rows_that_miss_the_tolerance_are_marked(flow: Flow) -> None:
    assert 'class="unmet"' not in fragment(flow)
    html = fragment(with_unmet(direct_only(flow), "z2z", 1, 1))
    _, old, house = figure_of(html, "Layer 1: token to token")
    assert all('class="unmet"' in attributes for _, attributes in house[1:])
    assert not any("unmet" in attributes for _, attributes in old)
    assert html.count('class="unmet"') == 5


def test_the_map_comes_first_and_the_verdict_is_one_line(flow: Flow) -> None:
    html = fragment(flow)
    assert html.index("<figure>") < html.index("✓ certified: all 24 rows sum") < html.index("(tiny)")
    assert "not converged: 1 of 24 rows may be off by more than 0.1% (tiny)" in fragment(
        with_unmet(flow, "z2u", 0, 2, 1)
    )
    assert html.count("<table>") == 1


def test_the_fragment_hides_special_tokens_as_sources(flow: Flow) -> None:
    html = fragment(replace(direct_only(flow), special=(True, False, False, False, False)))
    head, _, house = figure_of(html, "Layer 1: token to token")
    assert [text for text, _ in head] == ["", *TOKENS[1:]]
    assert [text for text, _ in house] == ["house", "", "", "5", "95"]
    assert "hidden: 1 special token." in html
    assert "<li>‘keeper’ is 95% of what moves ‘house’ in layer 1</li>" in html


def test_token_text_is_escaped_on_the_page(hostile: Flow) -> None:
    html = fragment(hostile)
    assert "<script" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "<b>" not in html
    assert "👍🏽 שלום" in html
    head, *rows = figure_of(html, "Layer ")
    assert [text for text, _ in head[1:]] == [printable(token) for token in HOSTILE]
    assert [row[0][0] for row in rows] == [printable(token) for token in HOSTILE]


def test_no_control_character_reaches_the_page(hostile: Flow) -> None:
    for html in (fragment(hostile),):
        assert [c for c in html if not c.isprintable() and c != "\n"] == []


def test_notes_and_names_are_escaped(flow: Flow) -> None:
    meta = {**flow.meta, "model": "<i>model</i>", "notes": ["a <b> note"], "text": "</title><script>"}
    html = fragment(replace(flow, meta=meta))
    assert "&lt;i&gt;model&lt;/i&gt;" in html
    assert "note: a &lt;b&gt; note" in html
    title = page([replace(flow, meta=meta)]).split("<title>")[1].split("\n")[0]
    assert title == "&lt;/title&gt;&lt;script&gt;</title>"


@pytest.mark.parametrize(
    ("route", "caption"),
    [
        ("z2u", "Layer 1: what the heads read, summed"),
        ("u2z", "Layer 1: which heads write"),
        ("z2z", "Layer 1: token to token"),
    ],
)
def test_a_flow_of_one_route_has_a_fragment(explainer: Explainer, route: str, caption: str) -> None:
    flow = explainer.explain(example(ARCHITECTURES["bert"], tokens=3), routes=(route,), layers=[1])
    assert len(figure_of(fragment(flow), caption)) == 4


def test_the_fragment_of_a_long_text_says_what_it_leaves_out(explainer: Explainer) -> None:
    flow = explainer.explain(example(ARCHITECTURES["bert"], tokens=34), routes=("z2z",), layers=[0])
    assert len(figure_of(fragment(flow), "Layer 0: token to token")) == 33
    assert {len(row) for row in figure_of(fragment(flow), "Layer 0: token to token")} == {33}
    assert "The first 32 of 34 tokens; to_html(path) shows all." in fragment(flow)
    assert flow._repr_html_() == fragment(flow)
