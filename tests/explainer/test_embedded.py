"""Models in packages: the cache of those that are converted, and what is said where one cannot be."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from transformers import PreTrainedTokenizerFast

from language_models import saved
from ligflow import Explainer, LigflowError
from ligflow.explainer.embedded import _GGUF, cache_folder, name_head, put_in_place
from ligflow.explainer.pretrained import load
from ligflow.names import EMBEDDED_SMOLLM2, INSTALL_SMOLLM2


def test_the_cache_is_where_it_is_told_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIGFLOW_CACHE", str(tmp_path / "own" / "cache"))
    assert cache_folder() == tmp_path / "own" / "cache"
    monkeypatch.delenv("LIGFLOW_CACHE")
    monkeypatch.setattr("huggingface_hub.utils._cache_assets.HF_ASSETS_CACHE", str(tmp_path / "assets"))
    assert cache_folder() == tmp_path / "assets" / "ligflow" / "models" / "converted"
    assert cache_folder().is_dir()


@pytest.mark.parametrize("place", ["/dev/null/x", "/proc/x"])
def test_a_cache_that_cannot_be_made_is_named(monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    monkeypatch.setenv("LIGFLOW_CACHE", place)
    with pytest.raises(LigflowError, match=f"cannot be made: .*{place}.* Set LIGFLOW_CACHE to a folder"):
        load("embedded:gemma-3-270m")


def test_a_disk_that_is_full_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setenv("LIGFLOW_CACHE", str(tmp_path))
    monkeypatch.setattr("ligflow.explainer.embedded._convert", full)
    with pytest.raises(LigflowError, match=r"cannot be filled: .*No space left.* has 1.2 GB to spare"):
        load("embedded:gemma-3-270m")


def test_of_two_processes_that_convert_at_once_the_first_one_stays(tmp_path: Path) -> None:
    done = tmp_path / "gemma"
    for number in (1, 2):
        made = tmp_path / f"made{number}"
        made.mkdir()
        (made / "config.json").write_text(str(number), encoding="utf-8")
        put_in_place(made, done)
        assert [path.name for path in done.iterdir()] == ["config.json"]
        assert (done / "config.json").read_text(encoding="utf-8") == "1"
    (done / "config.json").rename(done / "other")
    with pytest.raises(OSError, match="not empty"):
        put_in_place(made, done)


def test_a_folder_of_an_earlier_version_is_told_of_its_head(tmp_path: Path) -> None:
    """It holds the model without a head, to which the head is tied."""
    saved("gpt2", tmp_path, head=False)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.name != "config.json"}
    assert Explainer.from_pretrained(tmp_path).whole.headless
    name_head(tmp_path, "GPT2LMHeadModel")
    whole = Explainer.from_pretrained(tmp_path).whole
    assert whole.headless == ""
    model: Any = whole.model
    assert torch.equal(model.lm_head.weight, model.transformer.wte.weight)
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.name in before}
    stamp = (tmp_path / "config.json").stat().st_mtime_ns
    name_head(tmp_path, "GPT2LMHeadModel")
    assert (tmp_path / "config.json").stat().st_mtime_ns == stamp


def test_a_package_that_is_missing_is_named_with_what_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIGFLOW_CACHE", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(LigflowError) as caught:
        load(EMBEDDED_SMOLLM2)
    assert str(caught.value) == f"The embedded model is not installed: {INSTALL_SMOLLM2}."


def test_digits_are_read_one_by_one() -> None:
    """As in the tokenizer that SmolLM2 was trained with, whose vocabulary merges digits all the same."""
    pieces = ["<unk>", "i", "n", "Ġ", "1", "9", "8", "in", "19", "Ġ1"]
    merges = [("i", "n"), ("1", "9"), ("Ġ", "1")]
    backend = Tokenizer(BPE({piece: place for place, piece in enumerate(pieces)}, merges))
    backend.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend)
    assert tokenizer.tokenize("in 1998") == ["in", "Ġ", "19", "9", "8"]
    _GGUF[EMBEDDED_SMOLLM2].adjust(tokenizer)
    assert tokenizer.tokenize("in 1998") == ["in", "Ġ", "1", "9", "9", "8"]
