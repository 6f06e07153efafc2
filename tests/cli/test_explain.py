"""`ligflow explain`: what it prints, the numbers of Python, and one clear line for what cannot be."""

import base64
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from command_line import TEXT, Run, assert_refused
from ligflow import Explainer, Flow  # fmt: skip


def test_explain_prints_what_it_found_a_map_the_strongest_flows_and_a_verdict(explain: Run) -> None:
    code, out, err = explain()
    lines = out.splitlines()
    assert (code, err.strip()) == (0, "")
    assert lines[0].endswith(", inside its layers:")
    assert all(" ‘[CLS]’ " in line and " in layer " in line for line in lines[1:4])
    assert lines[4] == (
        "of what moved ‘[CLS]’ (put in front, for the whole input), 2 special tokens aside; "
        "punctuation not ranked (1 left out)"
    )
    assert re.fullmatch("Layer [01]: token to token, through the heads", lines[6])
    assert lines[7].split() == ["the", "cat", "'", "s", "w", "##his", "##kers"]
    assert [line.split()[:2] for line in lines[8:17]] == [
        ["0", "[CLS]"], ["1", "the"], ["2", "cat"], ["3", "'"], ["4", "s"], ["5", "w"], ["6", "##his"],
        ["7", "##kers"], ["8", "[SEP]"],
    ]  # fmt: skip
    assert lines[17] == "rows are targets, columns sources; cells are % of what moved the row's token"
    assert sum(line.endswith("% of what moved it") for line in lines) == 5
    assert lines[-2] == "✓ certified: all 108 rows sum to how far their target moved, within 0.1%"


def test_an_estimate_is_printed_in_place_of_the_maps(explain: Run, tmp_path: Path) -> None:
    code, out, err = explain("--estimate", "--save", str(tmp_path / "flow.safetensors"))
    assert (code, err) == (0, "")
    assert re.match(r"about .*: loading .*, checking the model .*, the explanation .*\nmemory: ", out)
    assert "measured on 2 of 2 layers" in out
    assert list(tmp_path.glob("*.safetensors")) == []


def test_the_details_are_printed_on_demand(explain: Run) -> None:
    _, out, _ = explain("--details")
    counts = [line.split()[-6] for line in out.splitlines()[-3:]]
    assert counts == ["72", "18", "18"]


def test_the_printed_numbers_are_those_of_python(explain: Run, model: str) -> None:
    flow = Explainer.from_pretrained(model).explain(TEXT)
    _, out, _ = explain("--layer", 0, "--show", "layer", "--special")
    share = flow.z2z[0, 2] / flow.z2z[0, 2].abs().sum()
    row = next(line for line in out.splitlines() if line.startswith("2 cat"))
    printed = [0 if cell == "." else int(cell) for cell in row.split()[2:]]
    np.testing.assert_allclose(printed, 100 * share.numpy(), atol=0.51)
    _, out, _ = explain("--layer", 0)
    kept = flow.composed()[0, 2, 1:-1]
    row = next(line for line in out.splitlines() if line.startswith("2 cat"))
    printed = [0 if cell == "." else int(cell) for cell in row.split()[2:]]
    np.testing.assert_allclose(printed, 100 * (kept / kept.abs().sum()).numpy(), atol=0.51)


def test_chosen_layers_targets_and_routes(explain: Run) -> None:
    code, out, _ = explain(
        "--layers", "-1", "--targets", "2,-1", "--route", "z2u", "--route", "z2z", "--json", "-"
    )
    data = json.loads(out)
    assert (code, data["layers"], data["targets"]) == (0, [1], [2, 8])
    assert np.shape(data["maps"]["z2u"]) == (1, 4, 2, 9)
    assert "u2z" not in data["maps"]


def test_settings_reach_the_engine(explain: Run) -> None:
    _, out, _ = explain(
        "--att-baseline", "mean", "--mlp-baseline", "matched", "--layer-baseline", "mean",
        "--dtype", "float64", "--scalarization", "projection", "--quadrature", "gauss-legendre:12",
        "--tol", "0.01", "--json", "-",
    )  # fmt: skip
    data = json.loads(out)
    settings = data["meta"]["settings"]
    assert [settings[f"{part}_baseline"] for part in ("att", "mlp", "layer")] == ["mean", "matched", "mean"]
    assert (settings["quadrature"], settings["tol"]) == ("gauss-legendre:12", 0.01)
    assert set(settings["scalarization"].values()) == {"projection"}
    assert data["meta"]["dtype"] == "float64"


@pytest.mark.parametrize(
    ("options", "title"),
    [
        (("--show", "conserving", "--layer", 1), "Layer 1: token to token, through the heads"),
        (("--show", "through-heads", "--layer", 1), "Layer 1: token to token, through the heads"),
        (("--show", "z2z", "--layer", 1), "Layer 1: token to token"),
        (("--show", "layer", "--layer", 1), "Layer 1: token to token"),
        (("--show", "z2u", "--layer", 1), "Layer 1: what the heads read, summed"),
        (("--show", "reads", "--head", 2, "--layer", 0), "Layer 0: what head 2 reads"),
        (("--show", "writes", "--route", "writes", "--layer", 1), "Layer 1: which heads write"),
        (("--route", "reads", "--layer", 1), "Layer 1: what the heads read, summed"),
        (("--route", "z2z", "--layer", 1), "Layer 1: token to token"),
    ],
    ids=str,
)
def test_the_map_that_is_printed_can_be_chosen(explain: Run, options: tuple[Any, ...], title: str) -> None:
    code, out, _ = explain(*options)
    assert code == 0
    assert title in out.splitlines()


def test_truncate_makes_a_long_text_fit(explain: Run) -> None:
    code, out, _ = explain("--truncate", "--route", "z2z", "--json", "-", text="cat " * 30)
    assert code == 0
    assert json.loads(out)["tokens"] == ["[CLS]", *["cat"] * 14, "[SEP]"]


def test_cells_that_miss_the_tolerance_are_named_and_the_run_is_good(explain: Run) -> None:
    code, out, _ = explain("--quadrature", "captum:3", "--route", "z2z", "--layers", "0")
    assert code == 0
    assert (
        out.splitlines()[-1]
        == "not converged: 9 of 9 rows may be off by more than 0.1%; --details names them"
    )
    _, out, _ = explain("--quadrature", "captum:3", "--route", "z2z", "--layers", "0", "--details")
    assert "not converged: layer, layer 0 target " in out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--layers", "0,2"), "There is no layer 2: there are 2, numbered 0 to 1"),
        (("--layers", "-3"), "There is no layer -3: there are 2"),
        (("--targets", "9"), "There is no target 9: there are 9, numbered 0 to 8"),
        (("--device", "abacus"), "Device 'abacus' is not usable; present: cpu"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_the_model_does_not_have_is_one_line_and_leaves_no_file(
    explain: Run, tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    assert_refused(explain(*options, "--save", tmp_path / "f", "--html", tmp_path / "h"), 1, said)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--show", "z2u", "--head", "4"), "There is no head 4: there are 4, numbered 0 to 3"),
        (("--show", "z2u", "--head", "-1"), "There is no head -1"),
        (("--layer", "7"), "There is no layer 7 to print: there are 2, numbered 0 to 1."),
        (("--layer", "-3"), "There is no layer -3 to print: there are 2"),
        (("--layer", "0", "--layers", "-1"), "numbered 0 to 1, of which --layers explains only [1]."),
        (("--layer", "-2", "--layers", "0"), "of which --layers explains only [0]."),
    ],
    ids=str,
)
def test_what_cannot_be_printed_is_said_before_the_computation(
    explain: Run, options: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def computed(*_: Any, **__: Any) -> None:
        pytest.fail("the flow was computed before --layer and --head were checked")

    monkeypatch.setattr("ligflow.explainer.explainer.Explainer.explain", computed)
    assert_refused(explain(*options), 1, said)


@pytest.mark.parametrize(("layer", "layers", "shown"), [("-1", "0", 0), ("1", "-1,0", 1), ("-2", "0,1", 0)])
def test_a_layer_that_is_explained_is_printed(explain: Run, layer: str, layers: str, shown: int) -> None:
    code, out, _ = explain("--layer", layer, "--layers", layers, "--route", "z2z")
    assert code == 0
    assert f"Layer {shown}: token to token" in out.splitlines()


def test_a_layer_that_is_not_explained_cannot_be_printed(explain: Run) -> None:
    assert_refused(explain("--layer", "1", "--layers", "0"), 2, "--layer 1 is printed")


def test_too_long_text_says_both_lengths_and_the_remedy(explain: Run, tmp_path: Path) -> None:
    result = explain("--save", tmp_path / "f", text="cat " * 30)
    assert_refused(result, 1, "has 32 tokens, and the model takes 16", "--truncate")
    assert list(tmp_path.iterdir()) == []


def test_a_page_holds_what_a_trace_can_follow_where_it_is_asked_to(explain: Run, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    assert explain("--html", path, "--trace")[0] == 0
    held = re.findall(r'class="flow"[^>]*>([^<]+)<', path.read_text(encoding="utf-8"))
    settings = []
    for number, data in enumerate(held):
        (tmp_path / f"{number}").write_bytes(base64.b64decode(data))
        settings.append(Flow.load(tmp_path / f"{number}").meta["settings"])
    names = ("att_baseline", "mlp_baseline", "layer_baseline")
    assert [[one[name] for name in names] for one in settings] == [
        ["itb", "att_itb_a0", "itb"], ["mean", "matched", "mean"]
    ]  # fmt: skip
    chained = ("--att-baseline", "mean", "--mlp-baseline", "matched", "--layer-baseline", "mean")
    assert explain("--html", path, "--trace", *chained)[0] == 0
    assert path.read_text(encoding="utf-8").count('class="flow"') == 1
    assert_refused(explain("--trace"), 2, "--trace is for the page of --html")
    assert_refused(explain("--trace", "--html", path, "--targets", "1"), 2, "leave out --targets")


def test_parts_are_printed_of_the_heads_and_saved(explain: Run, tmp_path: Path) -> None:
    path = tmp_path / "parts.safetensors"
    code, out, _ = explain("--parts", "--save", str(path))
    assert code == 0
    title = next(line for line in out.splitlines() if "read (value)" in line)
    assert title.split()[-6:] == ["read", "(value)", "found", "(key)", "asked", "(query)"]
    assert "z2u_value" in Flow.load(path).tensors
    assert_refused(explain("--parts", "--words"), 2, "--parts are of tokens", "leave one of the two out")


def test_ways_through_a_layer_are_printed_and_written(explain: Run, tmp_path: Path) -> None:
    path, table = tmp_path / "split.safetensors", tmp_path / "cells.csv"
    code, out, _ = explain("--split", "--save", str(path), "--csv", str(table))
    assert code == 0
    title = next(line for line in out.splitlines() if "of its move" in line)
    assert title.split()[-6:] == ["of", "its", "move", "through", "the", "MLP"]
    assert Flow.load(path).z2z_mlp.abs().max() > 0
    assert "\nz2z_mlp," in table.read_text()
    assert_refused(explain("--split", "--route", "reads"), 2, "--split splits the map of the whole layer")
