"""A tiny model for the commands, what they explain with it, and a guard that none is loaded."""

from pathlib import Path
from typing import Any

import pytest

from command_line import TEXT, Result, Run
from kept_run import kept as kept
from ligflow import Explainer
from small_encoder import saved_encoder


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with a tiny random BERT of 16 positions and the tokenizer of MiniLM."""
    return saved_encoder(tmp_path_factory.mktemp("model"), 16)


@pytest.fixture(autouse=True)
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that stands, so that a slow machine does not see a command report where it is."""
    monkeypatch.setattr("ligflow.progress.perf_counter", lambda: 0.0)


@pytest.fixture(scope="session")
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
