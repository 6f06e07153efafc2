"""A trial of methods: kept, continued, and kept apart from others."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas
import pytest
import torch

from ligflow import Explainer, LigflowError
from ligflow.corpus.runs.faithfulness_trial import corpus_means, try_methods
from ligflow.corpus.runs.folders import locked
from ligflow.corpus.sources.sentence import Sentence
from ligflow.corpus.tables import faithfulness_rows
from ligflow.corpus.tables.faithfulness_rows import Trial
from small_trial import SENTENCES, TEXTS, TRIAL

Pair = tuple[Explainer, Callable[[int], Explainer]]

pytestmark = pytest.mark.usefixtures("no_shape_checks")


def test_what_is_done_is_not_done_again(folder: Path, pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    before = try_methods(folder, *pair, SENTENCES, TRIAL)
    (folder / "000001.parquet").unlink()
    done: list[tuple[int, int]] = []
    again = try_methods(folder, *pair, SENTENCES, TRIAL, lambda *state: done.append(state))
    assert done == [(1, 1)]
    numbers = ["sum", "count"]
    pandas.testing.assert_frame_equal(before.drop(columns=numbers), again.drop(columns=numbers))
    np.testing.assert_allclose(before["sum"], again["sum"], rtol=1e-4, atol=1e-4)
    monkeypatch.setattr(faithfulness_rows, "of_sentence", None)  # nothing is left to do
    try_methods(folder, *pair, SENTENCES, TRIAL)


def test_another_trial_in_the_same_folder(folder: Path, pair: Pair) -> None:
    with pytest.raises(LigflowError, match=r"holds another trial \(steps 4, not 5\); choose another folder"):
        try_methods(folder, *pair, SENTENCES, Trial(layers=(2,), steps=5, shuffled=1, pairs=4))
    with pytest.raises(LigflowError, match=r"holds another trial \(texts "):
        try_methods(folder, *pair, SENTENCES[:2], TRIAL)
    assert json.loads((folder / "trial.json").read_text())["steps"] == 4


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is no description of a trial"),
        ("[1]", r"is no description of a trial: it holds \[1\]"),
        ('{"model": "a", "texts": "b", "layers": null, "steps": "4"}', "is damaged: steps: Input should be"),
        ('{"model": "a"}', "is damaged: texts: Field required. Bring back a copy"),
    ],
)
def test_a_damaged_description_of_a_trial(tmp_path: Path, pair: Pair, text: str, said: str) -> None:
    (tmp_path / "trial.json").write_text(text)
    with pytest.raises(LigflowError, match=said):
        try_methods(tmp_path, *pair, SENTENCES, TRIAL)


def test_the_mean_of_the_corpus(pair: Pair) -> None:
    layers = [pair[0].prepared.record(text)[2].hidden for text in TEXTS]
    expected = torch.cat(layers).double().mean(0)
    torch.testing.assert_close(corpus_means(pair[0], SENTENCES)[2], expected)


def test_bad_input(tmp_path: Path, pair: Pair) -> None:
    with pytest.raises(LigflowError, match="There is no layer 9: there are 6"):
        try_methods(tmp_path / "a", *pair, SENTENCES, Trial(layers=(9,)))
    long = Sentence(3, "word " * 600, "made:4")
    with pytest.raises(LigflowError, match="made:4 cannot be tried, choose other sentences: "):
        try_methods(tmp_path / "b", *pair, [*SENTENCES, long], TRIAL)
    assert not list((tmp_path / "b").glob("*.parquet"))
    with pytest.raises(LigflowError, match="The corpus has no sentence"):
        try_methods(tmp_path / "c", *pair, [], TRIAL)
    with pytest.raises(LigflowError, match="steps is 1; give a whole number from 2"):
        Trial(steps=1)
    with pytest.raises(LigflowError, match="pairs is 3; give a whole number from 4"):
        Trial(pairs=3)


def test_each_sentence_has_shuffled_weights_of_its_own(
    tmp_path: Path, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds: list[int] = []
    monkeypatch.setattr("ligflow.corpus.runs.faithfulness_trial.of_sentence", lambda *_: [{"sentence": 0}])

    def shuffled(seed: int) -> Explainer:
        seeds.append(seed)
        return pair[0]

    try_methods(tmp_path / "a", pair[0], shuffled, SENTENCES, Trial(layers=(2,), shuffled=2, seed=7))
    assert seeds == [7, 8]  # the third sentence has none


def test_two_processes_in_one_folder_are_kept_apart(folder: Path, pair: Pair) -> None:
    with locked(folder), pytest.raises(LigflowError, match="Another run is at work in"):
        try_methods(folder, *pair, SENTENCES, TRIAL)
    assert len(try_methods(folder, *pair, SENTENCES, TRIAL)) > 0


def test_a_folder_that_cannot_be_made(tmp_path: Path, pair: Pair) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LigflowError, match="Cannot make the folder"):
        try_methods(tmp_path / "file" / "trial", *pair, SENTENCES, TRIAL)
