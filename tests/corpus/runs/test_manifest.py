"""What a run is, read from its file: old ones too, wrong fields named."""

import json
from pathlib import Path
from typing import Any

import pytest

from ligflow import LigflowError
from ligflow.corpus.runs.store import open_run

pytestmark = pytest.mark.usefixtures("no_shape_checks")


MANIFEST = Path(__file__).with_name("manifest_of_format_2.json")


def test_a_manifest_that_was_written_long_ago(tmp_path: Path) -> None:
    """The file stays as the first version of its format wrote it; what a later one adds may stand beside."""
    known = json.loads(MANIFEST.read_text())
    for more in ({}, {"colour": 1, "model": known["model"] | {"size": "small"}}):
        (tmp_path / "manifest.json").write_text(json.dumps(known | more))
        found = open_run(tmp_path)
        assert (found.shards, found.missing, found.size(0)) == (1, [0], 2)
        assert found.manifest == known | more


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("shards", None, "shards: Field required"),
        ("shards", "3", "shards: Input should be a valid integer"),
        ("shard_size", 0, "shard_size: Input should be greater than or equal to 1"),
        ("settings.tol", None, "settings.tol: Field required"),
        ("settings.layers", [0, "1"], "settings.layers.1: Input should be a valid integer"),
        ("corpus.file", [1], "corpus.file: List should have at least 2 items"),
        ("model.fingerprint", 7, "model.fingerprint: Input should be a valid string"),
        ("format", 0, "format: Input should be greater than or equal to 1"),
        ("versions", None, "versions: Field required"),
    ],
)
def test_a_wrong_field_of_a_manifest_is_named(tmp_path: Path, field: str, value: Any, said: str) -> None:
    known = json.loads(MANIFEST.read_text())
    *outer, name = field.split(".")
    part = known[outer[0]] if outer else known
    part.update({name: value})
    if value is None:
        del part[name]
    (tmp_path / "manifest.json").write_text(json.dumps(known))
    with pytest.raises(LigflowError, match=rf"manifest.json' is damaged: {said}.*\. Bring back a copy"):
        open_run(tmp_path)


def test_a_run_that_compared_other_pairs_is_refused(tmp_path: Path) -> None:
    known = json.loads(MANIFEST.read_text()) | {"format": 1}
    (tmp_path / "manifest.json").write_text(json.dumps(known))
    with pytest.raises(LigflowError, match=r"run format 1, which compared other pairs .* another folder"):
        open_run(tmp_path)
