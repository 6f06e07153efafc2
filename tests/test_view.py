"""What a person looks at: orientation, escaping, unmet rows, and every column on a narrow console."""

import re
from dataclasses import replace
from html import unescape

import pytest
import torch
from rich.cells import cell_len
from rich.console import Console

from architectures import ARCHITECTURES, build, example
from ligflow import Explainer, Flow, LigflowError
from ligflow.view.colour import on, shade
from ligflow.view.html import fragment
from ligflow.view.page import page
from ligflow.view.select import available, printable, row_shares, select
from ligflow.view.terminal import certificates, error, report, strongest

TOKENS = ["the", "old", "light", "house", "keeper"]
_CELL = r"<(th|td)([^>]*)>(.*?)</\1>"
HOSTILE = ["<script>alert(1)</script>", '"it\'s" & <b>', "👍🏽 שלום", "\x1b[31mred\x07", "a\u202eb\x00"]


@pytest.fixture(scope="module")
def explainer() -> Explainer:
    return Explainer(build(ARCHITECTURES["bert"]), name="tiny")


@pytest.fixture(scope="module")
def flow(explainer: Explainer) -> Flow:
    """Targets 1 and 3 of five tokens; in layer 1, source 4 gives target 3 nine tenths of its row."""
    explained = explainer.explain(example(ARCHITECTURES["bert"], tokens=5), targets=[1, 3])
    z2z = explained.z2z.clone()
    z2z[1] = torch.tensor([[6.0, -2, 2, 0, 0], [0.5, 0, 0, 0.5, 9]])
    return replace(explained, tokens=TOKENS, tensors={**explained.tensors, "z2z": z2z})


@pytest.fixture(scope="module")
def hostile(explainer: Explainer) -> Flow:
    explained = explainer.explain(example(ARCHITECTURES["bert"], tokens=5))
    return replace(explained, tokens=HOSTILE, meta={**explained.meta, "text": " ".join(HOSTILE)})


def with_unmet(flow: Flow, route: str, *index: int) -> Flow:
    met = flow.tensors[f"{route}.met"].clone()
    met[index] = False
    return replace(flow, tensors={**flow.tensors, f"{route}.met": met})


def printed(flow: Flow, view: str, layer: int, width: int = 80, head: int | None = None) -> str:
    console = Console(width=width, highlight=False, force_terminal=False)
    with console.capture() as captured:
        report(flow, view, layer, head, console)
    return captured.get()


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


# --- colour ---------------------------------------------------------------------------------------


def test_colours_of_the_ends_and_of_nothing() -> None:
    assert (shade(0.0), shade(1.0), shade(-1.0)) == ("#ffffff", "#2166ac", "#d95f0e")
    assert (shade(5.0), shade(-5.0)) == (shade(1.0), shade(-1.0))
    assert shade(0.25) == "#90b2d6"  # half the ink


def test_text_can_be_read_on_every_shade() -> None:
    assert (on("#ffffff"), on("#000000"), on(shade(1.0))) == ("#000000", "#ffffff", "#ffffff")
    for share in torch.linspace(-1, 1, 41).tolist():
        assert contrast(shade(share), on(shade(share))) >= 3


def contrast(one: str, other: str) -> float:
    """The contrast ratio of WCAG 2."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


# --- select ---------------------------------------------------------------------------------------


def test_views_follow_from_the_routes(flow: Flow, explainer: Explainer) -> None:
    assert available(flow) == ["z2z", "conserving", "product", "z2u", "u2z"]
    inputs = example(ARCHITECTURES["bert"], tokens=2)
    assert available(explainer.explain(inputs, routes=("u2z",))) == ["u2z"]
    assert available(explainer.explain(inputs, routes=("z2u", "z2z"))) == ["z2z", "z2u"]


def test_select_gives_the_map_of_a_layer_with_its_columns(flow: Flow) -> None:
    values, columns, title = select(flow, "z2z", 1, None)
    assert values.equal(flow.z2z[1])
    assert (columns, title) == (TOKENS, "z2z (direct), layer 1")
    for rule in ("conserving", "product"):
        assert select(flow, rule, 0, None)[0].equal(flow.composed(rule)[0])


def test_select_of_heads(flow: Flow) -> None:
    torch.testing.assert_close(select(flow, "z2u", 1, None)[0], flow.z2u[1].sum(0), rtol=0, atol=0)
    assert select(flow, "z2u", 1, 3)[0].equal(flow.z2u[1, 3])
    assert select(flow, "z2u", 1, 3)[2] == "z2u, layer 1, head 3"
    values, columns, _ = select(flow, "u2z", 1, None)
    assert columns == ["h0", "h1", "h2", "h3", "res"]
    assert values[:, :4].equal(flow.u2z[1].T)
    assert values[:, 4].equal(flow.u2z_residual[1])


@pytest.mark.parametrize("head", [4, -1, 99])
def test_a_head_out_of_range_is_refused_with_the_range(flow: Flow, head: int) -> None:
    with pytest.raises(LigflowError, match=f"no head {head}: there are 4, numbered 0 to 3"):
        select(flow, "z2u", 1, head)


def test_an_unknown_view_or_layer_is_refused(flow: Flow) -> None:
    with pytest.raises(LigflowError, match="Unknown view 'heat'; choose from z2z, conserving, product"):
        select(flow, "heat", 1, None)
    with pytest.raises(LigflowError, match="Layer 7 is not in this flow"):
        select(flow, "z2z", 7, None)


def test_row_shares_keep_signs_and_divide_no_row_by_zero() -> None:
    shares = row_shares(torch.tensor([[6.0, -2, 2, 0, 0], [0, 0, 0, 0, 0]]))
    torch.testing.assert_close(shares, torch.tensor([[0.6, -0.2, 0.2, 0, 0], [0, 0, 0, 0, 0]]))


@pytest.mark.parametrize(
    ("token", "shown"),
    [
        ("plain naïve 👍 שלום", "plain naïve 👍 שלום"),
        ("\x1b[31m", r"\x1b[31m"),
        ("a\nb\tc", r"a\nb\tc"),
        ("\u202e", r"\u202e"),
    ],
)
def test_control_characters_are_shown_as_escapes(token: str, shown: str) -> None:
    assert printable(token) == shown


# --- html -----------------------------------------------------------------------------------------


def test_the_large_cell_is_in_its_targets_row_and_its_sources_column(flow: Flow) -> None:
    head, old, house = figure_of(fragment(flow), "z2z (direct), layer 1")
    assert [text for text, _ in head] == ["", *TOKENS]
    assert [text for text, _ in old] == ["old", "60", "-20", "20", "", ""]
    assert [text for text, _ in house] == ["house", "5", "", "", "5", "90"]
    assert f"background:{shade(0.9)}" in house[5][1]
    assert 'title="9"' in house[5][1]
    assert f"background:{shade(-0.2)}" in old[2][1]


def test_rows_that_miss_the_tolerance_are_marked(flow: Flow) -> None:
    assert 'class="unmet"' not in fragment(flow)
    html = fragment(with_unmet(flow, "z2z", 1, 1))
    _, old, house = figure_of(html, "z2z (direct), layer 1")
    assert all('class="unmet"' in attributes for _, attributes in house[1:])
    assert not any("unmet" in attributes for _, attributes in old)
    assert html.count('class="unmet"') == 5


def test_certificates_stand_in_a_table(flow: Flow) -> None:
    rows = rows_of(fragment(with_unmet(flow, "z2u", 0, 2, 1)).split("</table>")[0])
    worst = {route: float(flow.certificate(route).abs().max()) for route in flow.routes}
    assert [row[0][0] for row in rows] == ["route", "z2u", "u2z", "z2z"]
    assert [row[1][0] for row in rows[1:]] == ["16", "4", "4"]
    assert [row[2][0] for row in rows[1:]] == [f"{worst[route]:.1e}" for route in flow.routes]
    assert [row[5][0] for row in rows[1:]] == ["1", "0", "0"]


def test_token_text_is_escaped_on_the_page(hostile: Flow) -> None:
    html = fragment(hostile)
    assert "<script" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "<b>" not in html
    assert "👍🏽 שלום" in html
    head, *rows = figure_of(html, "z2z (direct), layer 1")
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
    ("route", "caption"), [("z2u", "z2u, layer 1"), ("u2z", "u2z, layer 1"), ("z2z", "z2z (direct), layer 1")]
)
def test_a_flow_of_one_route_has_a_fragment(explainer: Explainer, route: str, caption: str) -> None:
    flow = explainer.explain(example(ARCHITECTURES["bert"], tokens=3), routes=(route,), layers=[1])
    assert len(figure_of(fragment(flow), caption)) == 4


def test_the_fragment_of_a_long_text_says_what_it_leaves_out(explainer: Explainer) -> None:
    flow = explainer.explain(example(ARCHITECTURES["bert"], tokens=34), routes=("z2z",), layers=[0])
    assert len(figure_of(fragment(flow), "z2z (direct), layer 0")) == 33
    assert {len(row) for row in figure_of(fragment(flow), "z2z (direct), layer 0")} == {33}
    assert "The first 32 of 34 tokens; to_html(path) shows all." in fragment(flow)
    assert flow._repr_html_() == fragment(flow)


# --- terminal -------------------------------------------------------------------------------------


def test_the_terminal_table_has_targets_as_rows_and_sources_as_columns(flow: Flow) -> None:
    title, head, old, house, *_ = printed(flow, "z2z", 1).splitlines()
    assert title == "z2z (direct), layer 1"
    assert head.split() == ["the", "old", "ligh", "hous", "keep"]
    assert old.split() == ["1", "old", "60", "-20", "20", ".", "."]
    assert house.split() == ["3", "house", "5", ".", ".", "5", "90"]


@pytest.mark.parametrize("width", [12, 20, 30, 40])
def test_every_column_is_shown_when_the_console_is_narrow(flow: Flow, width: int) -> None:
    lines = printed(flow, "z2z", 1, width).splitlines()
    assert all(cell_len(line) <= width for line in lines)
    cells = [line.split()[2:] for line in lines if line.startswith("3 ")]
    assert [cell for block in cells for cell in block] == ["5", ".", ".", "5", "90"]
    heads = [
        name for line in lines for name in line.split() if name in ("the", "old", "ligh", "hous", "keep")
    ]
    assert heads.count("keep") == 1


@pytest.mark.parametrize("token", ["internationalisation" * 3, "日本語日本語日本語"])
def test_every_column_is_shown_beside_long_and_wide_tokens(flow: Flow, token: str) -> None:
    long = replace(flow, tokens=["the", "old", "light", token, "keeper"])
    lines = printed(long, "z2z", 1, width=40).splitlines()
    assert all(cell_len(line) <= 40 for line in lines)
    blocks = [re.findall(r"-?\d+|\.", line) for line in lines if line.startswith("1 old")]
    assert [cell for block in blocks for cell in block[1:]] == ["60", "-20", "20", ".", "."]
    blocks = [re.findall(r"\d+|\.", line) for line in lines if line.startswith("3 ")]
    assert [cell for block in blocks for cell in block[1:]] == ["5", ".", ".", "5", "90"]


@pytest.mark.parametrize("view", ["z2z", "conserving", "z2u", "u2z"])
def test_no_control_character_reaches_the_terminal(hostile: Flow, view: str) -> None:
    text = printed(with_unmet(hostile, "z2u", 0, 0, 3), view, 0)
    assert [c for c in text if not c.isprintable() and c != "\n"] == []
    assert r"\x1b[31mred" in text


def test_strongest_flows_in_words_leave_out_a_token_to_itself(flow: Flow) -> None:
    values = torch.tensor([[6.0, -2, 2, 0, 0], [0.5, 0, 0, 0.5, 9]])
    lines = strongest(flow, "z2z", values, TOKENS, count=3)
    assert lines == [
        "  'keeper' (4) adds to 'house' (3): +9, +90% of its row",
        "  'the' (0) adds to 'old' (1): +6, +60% of its row",
        "  'light' (2) adds to 'old' (1): +2, +20% of its row",
    ]
    less = strongest(flow, "z2z", -values, TOKENS, count=1)
    assert less == ["  'keeper' (4) takes from 'house' (3): -9, -90% of its row"]


def test_strongest_flows_of_zeros_are_none(flow: Flow) -> None:
    assert strongest(flow, "z2z", torch.zeros(2, 5), TOKENS) == []


def test_strongest_heads_are_named_by_number(flow: Flow) -> None:
    values, columns, _ = select(flow, "u2z", 1, None)
    row, head = divmod(int(values.abs().argmax()), 5)
    (line,) = strongest(flow, "u2z", values, columns, count=1)
    assert line.startswith(f"  h{head} ")
    target = flow.targets[row]
    assert f" '{TOKENS[target]}' ({target}): {float(values[row, head]):+.3g}, " in line


def test_the_certificates_name_what_misses_the_tolerance(flow: Flow) -> None:
    console = Console(width=120, highlight=False)
    with console.capture() as captured:
        console.print(certificates(with_unmet(flow, "z2u", 0, 2, 1)))
    lines = captured.get().splitlines()
    assert lines[0] == "certificates: 1 of 24 rows miss the tolerance 0.001"
    rows = {line.split()[0]: line.split() for line in lines if line.startswith(("z2u", "u2z", "z2z"))}
    assert [(route, row[1], row[-1]) for route, row in rows.items()] == [
        ("z2u", "16", "1"), ("u2z", "4", "0"), ("z2z", "4", "0"),
    ]  # fmt: skip
    assert rows["z2z"][2] == f"{flow.certificate('z2z').abs().max():.1e}"
    assert lines[-1].startswith("unmet: z2u layer 0 head 2 target 3 (house): certificate ")


def test_a_long_list_of_unmet_cells_is_cut(flow: Flow) -> None:
    met = torch.zeros_like(flow.tensors["z2u.met"])
    console = Console(width=120, highlight=False)
    with console.capture() as captured:
        console.print(certificates(replace(flow, tensors={**flow.tensors, "z2u.met": met})))
    lines = captured.get().splitlines()
    assert sum(line.startswith("unmet: z2u") for line in lines) == 10
    assert lines[-1] == "unmet: 6 more, all in flow.unmet"


def test_an_error_keeps_its_brackets_and_no_control_characters() -> None:
    console = Console(width=120, highlight=False)
    with console.capture() as captured:
        console.print(error("bad [bold]name[/] \x1b[31m [1, 2]"))
    assert captured.get() == "error: bad [bold]name[/] \\x1b[31m [1, 2]\n"
