"""Loading: embedded models, folders, and names that lead nowhere."""

import json
from pathlib import Path

import pytest
import torch

from architectures import ARCHITECTURES, build, example
from ligflow import Explainer, LigflowError
from ligflow.pretrained import EMBEDDED, load


def test_no_name_is_the_embedded_minilm() -> None:
    model, tokenizer = load()
    assert model.config.hidden_size == 384
    assert model.dtype == torch.float32
    assert tokenizer("a cat")["input_ids"] == [101, 1037, 4937, 102]


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
    with pytest.raises(LigflowError, match="Could not load model"):
        Explainer.from_pretrained("./nowhere")


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

    monkeypatch.setattr("ligflow.pretrained.AutoTokenizer.from_pretrained", missing)
    with pytest.raises(LigflowError, match="needs a package that is missing: SomeTokenizer requires"):
        load()
