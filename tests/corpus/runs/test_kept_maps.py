"""Maps that a run keeps, and what is said where it kept none."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from ligflow import Explainer, Flow, LigflowError
from ligflow.corpus.runs.kept_maps import flow
from ligflow.corpus.runs.runner import run
from ligflow.corpus.runs.shard_files import digest_of
from ligflow.corpus.runs.store import Run, open_run
from ligflow.corpus.runs.worker import Model
from ligflow.corpus.tables.experiment import Experiment
from small_runs import TEXTS, corpus

pytestmark = pytest.mark.usefixtures("no_shape_checks")


def test_kept_maps_are_the_flows(tmp_path: Path, small: Model) -> None:
    found = run(tmp_path, corpus(TEXTS[:3]), small, Experiment(layers=(0, 1), maps=True), shard_size=2)
    ours = flow(found, 2, att="zero", mlp="zero", direct="itb_zero_ratio")
    settings = {"att_baseline": "zero", "mlp_baseline": "zero", "layer_baseline": "itb_zero_ratio"}
    theirs = Explainer.from_pretrained(small.name).explain(TEXTS[2], layers=(0, 1), **settings)
    assert isinstance(ours, Flow)
    assert (ours.tokens, ours.layers, ours.targets) == (theirs.tokens, theirs.layers, theirs.targets)
    assert set(ours.tensors) == set(theirs.tensors)
    for name in ("z2u", "u2z", "z2z"):
        torch.testing.assert_close(ours.tensors[name], theirs.tensors[name], rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(ours.composed(), theirs.composed(), rtol=1e-2, atol=1e-3)
    assert ours.merge_words().tokens == theirs.merge_words().tokens
    loaded = Flow.load(ours.save(tmp_path / "flow.safetensors"))
    assert torch.equal(loaded.z2z, ours.z2z)


def test_maps_that_were_not_kept(whole: Run, tmp_path: Path, small: Model) -> None:
    with pytest.raises(LigflowError, match="kept no maps"):
        flow(whole, 0)
    with pytest.raises(LigflowError, match="holds sentence 99"):
        flow(whole, 99)
    kept = run(tmp_path, corpus(("Hi.", "word " * 600)), small, Experiment(layers=(0,), maps=True))
    with pytest.raises(LigflowError, match="Sentence 1 was left out"):
        flow(kept, 1)
    with pytest.raises(LigflowError, match="Unknown MLP baseline 'itb'; choose from zero, att_itb_a0"):
        flow(kept, 0, mlp="itb")


def test_maps_that_are_damaged(tmp_path: Path, small: Model) -> None:
    """One bit of one number, which the format itself would not notice."""
    kept = run(tmp_path, corpus(("Hi.",)), small, Experiment(layers=(0,), maps=True))
    path = kept.place(0) / "maps.safetensors"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(LigflowError, match=r"maps.safetensors' \(shard 0\) is damaged"):
        flow(kept, 0)


def with_header(kept: Run, folder: Path, change: Callable[[Any], Any]) -> Run:
    """A copy of a run whose maps say something else of themselves, sealed as if it had been written so."""
    copied = open_run(shutil.copytree(kept.folder, folder))
    path = copied.place(0) / "maps.safetensors"
    with safe_open(path, framework="pt") as file:
        metadata = {"ligflow": json.dumps(change(json.loads(file.metadata()["ligflow"])))}
        save_file({name: file.get_tensor(name) for name in file.keys()}, path, metadata)  # noqa: SIM118
    seal = path.with_name("shard.json")
    files = json.loads(seal.read_text())["files"] | {path.name: digest_of(path)}
    seal.write_text(json.dumps({"files": files}))
    return copied


def without(name: str) -> Callable[[Any], Any]:
    return lambda headers: (
        headers | {"0": {field: value for field, value in headers["0"].items() if field != name}}
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda headers: [headers], "it names no sentences by their numbers"),
        (lambda headers: {"first": headers["0"]}, "it names no sentences by their numbers"),
        (without("tokens"), "0.tokens: Field required"),
        (
            lambda headers: {"0": headers["0"] | {"layers": ["a"]}},
            "0.layers.0: Input should be a valid integer",
        ),
        (lambda headers: {"0": headers["0"] | {"targets": [99]}}, "0.targets should be positions of tokens"),
        (lambda headers: {"0": headers["0"] | {"special": []}}, "0.special should be as many as tokens"),
        (lambda headers: {"0": headers["0"] | {"meta": {}}}, "0.meta: lacks 'z2u itb'"),
    ],
)
def test_a_wrong_field_of_kept_maps_is_named(
    kept: Run, tmp_path: Path, change: Callable[[Any], Any], said: str
) -> None:
    copied = with_header(kept, tmp_path / "copy", change)
    with pytest.raises(LigflowError, match=rf"maps.safetensors' is damaged: .*{said}.*--redo-damaged"):
        flow(copied, 0)


def test_fields_of_other_versions_may_stand_beside(kept: Run, tmp_path: Path) -> None:
    copied = with_header(kept, tmp_path / "copy", lambda headers: {"0": headers["0"] | {"more": 1}})
    assert torch.equal(flow(copied, 0).z2z, flow(kept, 0).z2z)
