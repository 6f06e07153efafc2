"""What is certified: in one line, and in detail."""

from dataclasses import replace

import torch
from rich.console import Console

from five_tokens import with_unmet
from ligflow import Flow
from ligflow.view.completeness import certified, details_of


def test_one_line_says_that_all_is_certified(flow: Flow) -> None:
    assert lines_of(flow) == [
        "✓ certified: all 24 rows sum to how far their target moved, within 0.1%",
        "  (the sums are known from two plain runs; errors of single cells are estimated)",
    ]
    assert lines_of(with_unmet(flow, "z2u", 0, 2, 1)) == [
        "not converged: 1 of 24 rows may be off by more than 0.1%; --details names them"
    ]


def test_much_at_the_very_start_of_a_path_is_said(flow: Flow) -> None:
    origin = flow.tensors["z2z.origin"].clone()
    origin[1, 0] = 0.25 * flow.tensors["z2z.scale"][1, 0]
    moved = replace(flow, tensors={**flow.tensors, "z2z.origin": origin})
    assert lines_of(moved)[-1] == "up to 25% of a row happened at the very start of the path"


def test_the_details_name_what_misses_the_tolerance(flow: Flow) -> None:
    lines = detailed(with_unmet(flow, "z2u", 0, 2, 1))
    assert lines[0] == "not converged: 1 of 24 rows may be off by more than 0.1%"
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


def lines_of(flow: Flow) -> list[str]:
    console = Console(width=120, highlight=False)
    with console.capture() as captured:
        console.print(certified(flow))
    return captured.get().splitlines()
