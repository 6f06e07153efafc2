"""The files that commands write of a flow: their content, and what is said before the computation."""

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest

from command_line import TEXT, Run, assert_refused
from ligflow import Explainer, Flow  # fmt: skip


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
