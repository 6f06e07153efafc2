"""Copies of a model that have learnt nothing."""

from pathlib import Path

import pytest
import torch

import architectures
from ligflow import Explainer, LigflowError
from ligflow.corpus.runs.store import Run
from ligflow.corpus.runs.twins import Twin, twin_of, twins
from runs_by_hand import run_by_hand

pytestmark = pytest.mark.usefixtures("no_shape_checks")


def test_new_weights_are_other_values_and_permuted_ones_the_same_elsewhere() -> None:
    explainer = Explainer(architectures.build(architectures.ARCHITECTURES["llama"]))
    ours = explainer.model.state_dict()
    name = next(name for name, weight in ours.items() if ".layers." in f".{name}" and weight.ndim > 1)
    new, permuted, other = (
        twin_of(explainer, Twin(kind, seed)).model.state_dict()[name]
        for kind, seed in (("new weights", 0), ("permuted weights", 0), ("permuted weights", 1))
    )
    assert not torch.equal(permuted, ours[name])
    assert not torch.equal(permuted, other)
    assert torch.equal(permuted.flatten().sort().values, ours[name].flatten().sort().values)
    assert not torch.equal(new.flatten().sort().values, ours[name].flatten().sort().values)


def test_several_seeds_of_each_kind() -> None:
    names = [twin.name for twin in twins(("new weights", "permuted weights"), 2, first=3)]
    assert names == ["new-3", "new-4", "permuted-3", "permuted-4"]
    with pytest.raises(LigflowError, match="There are 0 seeds"):
        twins(("new weights",), 0)
    with pytest.raises(LigflowError, match="choose from new weights, permuted weights"):
        Twin("old", 0)


def test_a_run_finds_its_twins(tmp_path: Path) -> None:
    run_by_hand(tmp_path, sentences=1)
    for name in ("permuted-10", "permuted-2", "new-0"):
        run_by_hand(tmp_path / "twins" / name, sentences=1)
    found = Run(tmp_path, {}).twins
    names = {kind: [run.folder.name for run in of_kind] for kind, of_kind in found.items()}
    assert names == {"new weights": ["new-0"], "permuted weights": ["permuted-2", "permuted-10"]}
    (tmp_path / "twins" / "new-0").rename(tmp_path / "twins" / "new-first")
    with pytest.raises(LigflowError, match="'first' is no seed"):
        _ = Run(tmp_path, {}).twins
