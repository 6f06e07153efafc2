"""What a person looks at: orientation, escaping, unmet rows, and every column on a narrow console."""

import re
from dataclasses import replace
from html import unescape
from typing import Any

import pytest
import torch
from rich.cells import cell_len
from rich.console import Console

from architectures import ARCHITECTURES, build, example
from ligflow import Explainer, Flow, LigflowError
from ligflow.cli.streams import error
from ligflow.inputs.labels import is_blank, printable, told_apart, trimmed
from ligflow.view.colour import on, shade
from ligflow.view.completeness import details_of
from ligflow.view.html import fragment
from ligflow.view.interactive_page import page
from ligflow.view.select import available, row_shares, select
from ligflow.view.terminal import report

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


def direct_only(flow: Flow) -> Flow:
    """The same flow without the parts, so that the direct map is what is shown first."""
    return replace(flow, tensors={name: one for name, one in flow.tensors.items() if name.startswith("z2z")})


def with_unmet(flow: Flow, route: str, *index: int) -> Flow:
    met = flow.tensors[f"{route}.met"].clone()
    met[index] = False
    return replace(flow, tensors={**flow.tensors, f"{route}.met": met})


def printed(
    flow: Flow, view: str | None = None, layer: int | None = 1, width: int = 80, **options: Any
) -> str:
    console = Console(width=width, highlight=False, force_terminal=False)
    with console.capture() as captured:
        report(flow, console, view=view, layer=layer, **options)
    return captured.get()


def table(text: str) -> list[str]:
    """The lines of a printed map, without the sentences above its title."""
    lines = text.splitlines()
    return lines[next(at for at, line in enumerate(lines) if line.startswith("Layer ")) :]


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
    assert available(flow) == ["conserving", "z2z", "z2u", "u2z", "product"]
    inputs = example(ARCHITECTURES["bert"], tokens=2)
    assert available(explainer.explain(inputs, routes=("u2z",))) == ["u2z"]
    assert available(explainer.explain(inputs, routes=("z2u", "z2z"))) == ["z2z", "z2u"]


def test_select_gives_the_map_of_a_layer_with_its_columns(flow: Flow) -> None:
    values, columns, title = select(flow, "z2z", 1, None)
    assert values.equal(flow.z2z[1])
    assert (columns, title) == (TOKENS, "Layer 1: token to token")
    for rule in ("conserving", "product"):
        assert select(flow, rule, 0, None)[0].equal(flow.composed(rule)[0])


def test_select_of_heads(flow: Flow) -> None:
    torch.testing.assert_close(select(flow, "z2u", 1, None)[0], flow.z2u[1].sum(0), rtol=0, atol=0)
    assert select(flow, "z2u", 1, 3)[0].equal(flow.z2u[1, 3])
    assert select(flow, "z2u", 1, 3)[2] == "Layer 1: what head 3 reads"
    values, columns, _ = select(flow, "u2z", 1, None)
    assert columns == ["h0", "h1", "h2", "h3", "res"]
    assert values[:, :4].equal(flow.u2z[1].T)
    assert values[:, 4].equal(flow.u2z_residual[1])


@pytest.mark.parametrize("head", [4, -1, 99])
def test_a_head_out_of_range_is_refused_with_the_range(flow: Flow, head: int) -> None:
    with pytest.raises(LigflowError, match=f"no head {head}: there are 4, numbered 0 to 3"):
        select(flow, "z2u", 1, head)


def test_an_unknown_view_or_layer_is_refused(flow: Flow) -> None:
    with pytest.raises(LigflowError, match="Unknown view 'heat'; choose from conserving, z2z, z2u, u2z"):
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
    assert "not converged: 1 of 24 rows miss 0.001 (tiny)" in fragment(with_unmet(flow, "z2u", 0, 2, 1))
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


# --- terminal -------------------------------------------------------------------------------------


def test_the_terminal_table_has_targets_as_rows_and_sources_as_columns(flow: Flow) -> None:
    title, head, old, house, *_ = table(printed(flow, "z2z"))
    assert title == "Layer 1: token to token"
    assert head.split() == TOKENS
    assert old.split() == ["1", "old", "60", "-20", "20", ".", "."]
    assert house.split() == ["3", "house", "5", ".", ".", "5", "90"]


def test_the_first_lines_say_what_was_found(flow: Flow) -> None:
    z2z = torch.zeros_like(flow.z2z)
    z2z[0, 1], z2z[1, 1] = torch.tensor([1.0, 0, 0, 3, 0]), torch.tensor([0.5, 0, 0, 0.5, 9])
    text = printed(replace(flow, tensors={**flow.tensors, "z2z": z2z}), "z2z", None)
    lines = text.splitlines()
    assert lines[:4] == [
        "‘keeper’ is 90% of what moves ‘house’ in layer 1", "‘the’ is 25% of what moves ‘house’ in layer 0",
        "of what moved ‘house’", "",
    ]  # fmt: skip
    assert lines[4] == "Layer 1: token to token"


@pytest.mark.parametrize("width", [12, 20, 30, 40])
def test_every_column_is_shown_when_the_console_is_narrow(flow: Flow, width: int) -> None:
    lines = table(printed(flow, "z2z", width=width))
    assert all(cell_len(line) <= width for line in lines)
    cells = [line.split()[2:] for line in lines if line.startswith("3 ")]
    assert [cell for block in cells for cell in block] == ["5", ".", ".", "5", "90"]
    heads = [name for line in lines for name in line.split() if name.startswith("kee")]
    assert heads[0] == ("keeper" if width == 40 else "keep")


@pytest.mark.parametrize("token", ["internationalisation" * 3, "日本語日本語日本語"])
def test_every_column_is_shown_beside_long_and_wide_tokens(flow: Flow, token: str) -> None:
    long = replace(flow, tokens=["the", "old", "light", token, "keeper"])
    lines = table(printed(long, "z2z", width=40))
    assert all(cell_len(line) <= 40 for line in lines)
    blocks = [re.findall(r"-?\d+|\.", line) for line in lines if line.startswith("1 old")]
    assert [cell for block in blocks for cell in block[1:]] == ["60", "-20", "20", ".", "."]
    blocks = [re.findall(r"\d+|\.", line) for line in lines if line.startswith("3 ")]
    assert [cell for block in blocks for cell in block[1:]] == ["5", ".", ".", "5", "90"]


def test_names_of_columns_use_the_width_there_is(flow: Flow) -> None:
    long = replace(flow, tokens=["the", "old", "internationalisation", "house", "keeper"])
    assert "internationalisation" in table(printed(long, "z2z", width=80))[1]
    assert "inter " in table(printed(long, "z2z", width=36))[1] + " "


@pytest.mark.parametrize("view", ["z2z", "conserving", "z2u", "u2z"])
def test_no_control_character_reaches_the_terminal(hostile: Flow, view: str) -> None:
    text = printed(with_unmet(hostile, "z2u", 0, 0, 3), view, 0, details=True)
    assert [c for c in text if not c.isprintable() and c != "\n"] == []
    assert r"\x1b[31mred" in text


def test_special_tokens_are_hidden_as_sources_and_counted(flow: Flow) -> None:
    marked = replace(flow, special=(False, True, False, False, True))
    lines = table(printed(marked, "z2z"))
    assert lines[1].split() == ["the", "light", "house"]
    assert lines[2].split() == ["1", "old", "75", "25", "."]
    assert lines[3].split() == ["3", "house", "50", ".", "50"]
    assert "hidden: 2 special tokens, which hold 90% of what moved ‘house’ here (--special)" in lines
    assert "percentages are of the sources shown" in lines
    assert not any("percentages" in line for line in table(printed(flow, "z2z")))
    assert "  (not ranked: 2 special tokens)" in lines
    every = table(printed(marked, "z2z", special=True))
    assert every[3].split() == ["3", "house", "5", ".", ".", "5", "90"]
    assert not any(line.startswith("hidden") for line in every)
    rows = [line.split()[0] for line in table(printed(marked, "z2z", targets_only=True))[2:4]]
    assert rows == ["3", "rows"]


def test_a_causal_map_has_no_cells_after_its_target(explainer: Explainer) -> None:
    flow = explainer.explain(example(ARCHITECTURES["bert"], tokens=5), routes="z2z", layers=[0])
    z2z = torch.tensor([[[1.0, 0, 0, 0, 0], [1, 3, 0, 0, 0], [1, 1, 2, 0, 0], [2, 2, 4, 2, 0], [1] * 5]])
    causal = replace(flow, tokens=TOKENS, tensors={**flow.tensors, "z2z": z2z})
    lines = table(printed(causal, "z2z", 0))
    assert [line.split()[2:] for line in lines[2:7]] == [
        ["100"], ["25", "75"], ["25", "25", "50"], ["20", "20", "40", "20"], ["20"] * 5,
    ]  # fmt: skip


def test_strongest_flows_in_words_leave_out_a_token_to_itself(flow: Flow) -> None:
    lines = [line for line in table(printed(flow, "z2z")) if line.startswith("  ")]
    assert lines[1:4] == [
        "  ‘keeper’ reaches ‘house’: +9, 90% of what moved it",
        "  ‘the’ reaches ‘old’: +6, 60% of what moved it",
        "  ‘light’ reaches ‘old’: +2, 20% of what moved it",
    ]
    less = replace(flow, tensors={**flow.tensors, "z2z": -flow.z2z})
    assert "  ‘keeper’ holds ‘house’ back: -9, -90% of what moved it" in printed(less, "z2z")


def test_strongest_flows_leave_out_punctuation(flow: Flow) -> None:
    marks = replace(flow, tokens=["the", "old", "light", "house", "."])
    text = printed(marks, "z2z")
    assert "‘.’ reaches" not in text
    assert "  (not ranked: 1 of punctuation)" in text


def test_strongest_flows_of_zeros_are_none(flow: Flow) -> None:
    still = replace(flow, tensors={**flow.tensors, "z2z": torch.zeros_like(flow.z2z)})
    assert " of what moved it" not in printed(still, "z2z")


def test_strongest_heads_are_named_by_number(flow: Flow) -> None:
    values, _, _ = select(flow, "u2z", 1, None)
    row, head = divmod(int(values[:, :-1].abs().argmax()), 4)
    share = float(row_shares(values)[row, head])
    target, verb = TOKENS[flow.targets[row]], "writes" if share > 0 else "takes from"
    value = float(values[row, head])
    said = f"  head {head} {verb} ‘{target}’: {value:+.3g}, {100 * share:.0f}% of what moved it"
    assert said in printed(flow, "u2z")


def test_a_map_that_does_not_fit_is_a_line_a_layer(explainer: Explainer) -> None:
    flow = explainer.explain(example(ARCHITECTURES["bert"], tokens=40), routes="z2z")
    z2z = flow.z2z.clone()
    z2z[0, -1], z2z[1, -1] = 0, 0
    z2z[0, -1, 7], z2z[0, -1, 9], z2z[1, -1, 3] = 3, -1, 2
    names = [f"t{place}" for place in range(40)]
    long = replace(flow, tokens=names, special=(False,) * 40, tensors={**flow.tensors, "z2z": z2z})
    lines = printed(long, layer=None).splitlines()
    assert len(lines) <= 24
    assert lines[5] == "what moved ‘t39’, layer by layer"
    assert lines[6:8] == ["  layer  0: ‘t7’ 75%, ‘t9’ -25%", "  layer  1: ‘t3’ 100%"]
    assert lines[8] == "the strongest of layer 1"
    assert sum(line.endswith(" of what moved it") for line in lines) == 10
    assert "the map of layer 1 has 40 x 40 cells, too many for here: --full prints them" in lines
    full = table(printed(long, full=True))
    cells = [cell for line in full if line.startswith("39 ") for cell in line.split()[2:]]
    assert cells == ["."] * 3 + ["100"] + ["."] * 36


def test_one_line_says_that_all_is_certified(flow: Flow) -> None:
    assert printed(flow).splitlines()[-1] == (
        "✓ certified: all 24 rows sum to how far their target moved, within 0.001"
    )
    assert printed(with_unmet(flow, "z2u", 0, 2, 1)).splitlines()[-1] == (
        "not converged: 1 of 24 rows miss 0.001; --details names them"
    )


def test_much_at_the_very_start_of_a_path_is_said(flow: Flow) -> None:
    origin = flow.tensors["z2z.origin"].clone()
    origin[1, 0] = 0.25 * flow.tensors["z2z.scale"][1, 0]
    moved = replace(flow, tensors={**flow.tensors, "z2z.origin": origin})
    assert printed(moved).splitlines()[-1] == "up to 25% of a row happened at the very start of the path"


def test_the_details_name_what_misses_the_tolerance(flow: Flow) -> None:
    lines = detailed(with_unmet(flow, "z2u", 0, 2, 1))
    assert lines[0] == "not converged: 1 of 24 rows miss 0.001"
    rows = {line[:12].strip(): line[12:].split() for line in lines if line.startswith(("heads", "layer"))}
    assert [(name, row[0], row[-1]) for name, row in rows.items()] == [
        ("heads read", "16", "1"), ("heads write", "4", "0"), ("layer", "4", "0"),
    ]  # fmt: skip
    assert rows["layer"][1] == f"{flow.certificate('z2z').abs().max():.1e}"
    assert lines[-1].startswith(
        "not converged: heads read, layer 0 head 2 target 3 (house): completeness error "
    )


def test_a_long_list_of_rows_that_miss_the_tolerance_is_cut(flow: Flow) -> None:
    met = torch.zeros_like(flow.tensors["z2u.met"])
    lines = detailed(replace(flow, tensors={**flow.tensors, "z2u.met": met}))
    assert sum(line.startswith("not converged: heads read") for line in lines) == 10
    assert lines[-1] == "not converged: 6 more, all in flow.unmet"


def detailed(flow: Flow) -> list[str]:
    console = Console(width=120, highlight=False)
    with console.capture() as captured:
        console.print(details_of(flow))
    return captured.get().splitlines()


def test_an_error_keeps_its_brackets_and_no_control_characters() -> None:
    console = Console(width=120, highlight=False)
    with console.capture() as captured:
        console.print(error("bad [bold]name[/] \x1b[31m [1, 2]"))
    assert captured.get() == "error: bad [bold]name[/] \\x1b[31m [1, 2]\n"


@pytest.mark.parametrize(
    ("token", "shown"), [(" capital", "capital"), (" ", "␣"), ("  ", "␣␣"), ("\n", r"\n"), ("##s", "##s")]
)
def test_tokens_are_named_without_the_blanks_around_them(token: str, shown: str) -> None:
    assert trimmed(token) == shown


@pytest.mark.parametrize(
    ("tokens", "shown"),
    [
        (["the", " cat", " the", " cat"], ["the", "cat", "␣the", "cat"]),
        ([" the", "the ", " the "], ["␣the", "the␣", "␣the␣"]),
        ([" ", "  ", "␣"], ["␣", "␣␣", "␣"]),
        ([" a\n", "a\n"], [r"␣a\n", r"a\n"]),
        ([" New York", "New York"], ["␣New York", "New York"]),
    ],
    ids=str,
)
def test_blanks_are_shown_where_they_alone_tell_tokens_apart(tokens: list[str], shown: list[str]) -> None:
    assert told_apart(tokens) == shown


def test_blanks_of_every_kind() -> None:
    assert all(map(is_blank, ["", " ", "\n", "\t\n", "Ġ", "Ċ", "▁▁"]))
    assert not any(map(is_blank, ["a", "Ġa", ".", "▁x"]))
