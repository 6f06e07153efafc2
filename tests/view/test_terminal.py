"""What a person looks at in a terminal: orientation, words, and every column on a narrow console."""

import re
from dataclasses import replace
from typing import Any

import pytest
import torch
from rich.cells import cell_len
from rich.console import Console

from architectures import ARCHITECTURES, example
from five_tokens import TOKENS, with_unmet
from ligflow import Explainer, Flow
from ligflow.view.select import row_shares, select
from ligflow.view.terminal import report


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
    assert lines[:5] == [
        "tiny, inside its layers:",
        "‘keeper’ is 90% of what moves ‘house’ in layer 1", "‘the’ is 25% of what moves ‘house’ in layer 0",
        "of what moved ‘house’", "",
    ]  # fmt: skip
    assert lines[5] == "Layer 1: token to token"


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
    assert "percentages are of the sources shown; values are lengths of the model’s vectors" in lines
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


LENGTHS = "values are lengths of the model’s vectors"


@pytest.mark.parametrize(
    ("view", "route", "unit"),
    [
        ("z2z", "z2z", "a row sums to how far the layer’s output moved"),
        ("conserving", "u2z", "a row sums to how far the layer’s output moved"),
        ("z2u", "z2u", "a row sums to how far a head’s output moved"),
        ("product", "u2z", "products of what heads read and write"),
    ],
)
def test_the_unit_of_values_is_said_once(flow: Flow, view: str, route: str, unit: str) -> None:
    assert printed(flow, view).splitlines().count(f"the strongest; {unit}") == 1
    settings = {**flow.meta["settings"], "scalarization": {route: "direction[32]"}}
    towards = replace(flow, meta={**flow.meta, "settings": settings})
    by = "" if view == "product" else " by direction[32]"
    assert f"the strongest; {unit}{by}" in printed(towards, view).splitlines()
    assert (LENGTHS in printed(flow, view)) == (view != "product")
    assert LENGTHS not in printed(towards, view)
    still = replace(flow, tensors={**flow.tensors, "z2z": torch.zeros_like(flow.z2z)})
    assert "the strongest" not in printed(still, "z2z")


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
    assert lines[6] == "what moved ‘t39’, layer by layer"
    assert lines[7:9] == ["  layer  0: ‘t7’ 75%, ‘t9’ -25%", "  layer  1: ‘t3’ 100%"]
    assert lines[9] == "the strongest of layer 1; a row sums to how far the layer’s output moved"
    assert sum(line.endswith(" of what moved it") for line in lines) == 10
    assert "the map of layer 1 has 40 x 40 cells, too many for here: --full prints them" in lines
    full = table(printed(long, full=True))
    cells = [cell for line in full if line.startswith("39 ") for cell in line.split()[2:]]
    assert cells == ["."] * 3 + ["100"] + ["."] * 36
