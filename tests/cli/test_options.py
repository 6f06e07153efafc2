"""The options that commands share: their names, and models that cannot be had."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertModel

from command_line import TEXT, Run, assert_refused
from ligflow import LigflowError, names, settings
from ligflow.corpus.runs import worker
from ligflow.method import from_names
from ligflow.results import strongest_paths, tracing


def test_an_unknown_dtype_lists_the_valid_ones(explain: Run) -> None:
    assert_refused(explain("--dtype", "bfloat16"), 2, "--dtype 'bfloat16' is unknown", "float32, float64")


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


@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize(
    "arguments",
    [
        ["explain", "x"], ["trace", "x"], ["check", "own"], ["compare", "own", "own"],
        ["why", "x", "--model", "own"],
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
    worker.loaded.cache_clear()  # of runs that were made in this process before
    monkeypatch.setattr("ligflow.explainer.explainer.Explainer.from_pretrained", loaded)
    asked = run(*arguments, *(["--trust-remote-code"] if trusted else []))
    assert_refused(asked, 1, "no model")
    assert given == [trusted]


def test_names_of_options_are_those_of_the_library() -> None:
    assert set(names.ROUTES.values()) == set(settings.ROUTES)
    assert tuple(names.HEAD_BASELINES.values()) == tuple(from_names.ATT_BASELINES)
    assert tuple(names.MLP_BASELINES.values()) == tuple(from_names.MLP_BASELINES)
    assert tuple(names.LAYER_BASELINES.values()) == tuple(from_names.LAYER_BASELINES)
    assert tuple(names.ENCODER_BASELINES.values()) == tuple(from_names.ENCODER_BASELINES)
    assert tuple(names.SCALARIZATIONS.values()) == tuple(from_names.SCALARIZATIONS)
    assert tuple(names.PRECISIONS.values()) == settings.PRECISIONS
    assert tuple(names.EXPERTS.values()) == settings.EXPERTS
    assert set(names.TRACED.values()) == set(tracing.MAPS)
    assert set(names.TRACE_BASELINES.values()) == set(tracing.BASELINES)
    assert tuple(names.SIGNS.values()) == strongest_paths.SIGNS
