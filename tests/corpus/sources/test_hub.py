"""Datasets of the hub."""

from pathlib import Path

import pytest

from corpus_files import sentences, written
from ligflow import LigflowError
from ligflow.corpus.sources.hub import Dataset, dataset_of
from ligflow.corpus.sources.readers import read


@pytest.mark.filterwarnings("ignore")
def test_a_dataset_as_a_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "set"
    folder.mkdir()
    written(folder, "train.jsonl", '{"text": "One."}\n{"text": "Two."}\n')
    written(folder, "test.jsonl", '{"text": "Three."}\n')
    assert [one.text for one in sentences(f"hf:{folder}")] == ["One.", "Two."]
    assert [one.text for one in sentences(f"hf:{folder}", split="test")] == ["Three."]
    with pytest.raises(LigflowError, match="cannot be loaded"):
        list(read(f"hf:{folder}", split="dev"))


def test_addresses_of_datasets() -> None:
    known = {
        "hf:squad": Dataset("squad"),
        "hf:org/name": Dataset("org/name"),
        "hf://datasets/squad": Dataset("squad"),
        "hf://datasets/org/name/": Dataset("org/name"),
        "hf://datasets/org/name@v1": Dataset("org/name", "v1"),
        "hf://datasets/org/name/data/a.parquet": Dataset("org/name", None, "data/a.parquet"),
        "hf://datasets/org/name@refs/convert/parquet/a/b.parquet": Dataset(
            "org/name", "refs/convert/parquet", "a/b.parquet"
        ),
    }
    assert {source: dataset_of(source) for source in known} == known
    for source in ("hf://org/name", "hf://datasets/", "hf://models/org/name"):
        with pytest.raises(LigflowError, match="is no dataset of the hub"):
            read(source)


@pytest.mark.filterwarnings("ignore")
def test_a_dataset_that_is_not_there() -> None:
    with pytest.raises(LigflowError, match=r"The dataset 'nobody/nothing' .* cannot be loaded"):
        list(read("hf:nobody/nothing"))


def test_datasets_that_are_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(LigflowError, match=r"pip install 'ligflow\[datasets\]'"):
        list(read("hf:any"))
