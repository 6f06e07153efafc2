"""The plan of a run: recognised, or refused with the difference."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ligflow import LigflowError, errors
from ligflow.corpus.runs import plan
from ligflow.corpus.runs.runner import run
from ligflow.corpus.runs.store import Run
from ligflow.corpus.runs.twins import Twin
from ligflow.corpus.runs.worker import Model
from ligflow.corpus.sources.corpus import Corpus
from ligflow.corpus.sources.sentence import BadLine, Sentence
from ligflow.corpus.tables.experiment import Experiment
from small_runs import SMALL, TEXTS, corpus, equal

pytestmark = pytest.mark.usefixtures("no_shape_checks")


def test_a_plan_that_was_cut_short_is_made_again(tmp_path: Path, whole: Run, small: Model) -> None:
    (tmp_path / "sentences").mkdir()
    (tmp_path / "sentences" / "00000.parquet").write_bytes(b"half")
    assert equal(run(tmp_path, corpus(), small, SMALL, shard_size=2), whole)


def test_other_settings_are_refused_with_the_difference(whole: Run) -> None:
    other = Experiment(layers=(0,), tol=1e-2, units=("token", "word"))
    with pytest.raises(LigflowError, match="holds a run with other settings") as caught:
        run(whole.folder, corpus(split="test"), experiment=other, shard_size=3)
    text = str(caught.value)
    assert "settings.tol: 0.001 there, 0.01 asked" in text
    assert "settings.units: ['token'] there, ['token', 'word'] asked" in text
    assert "corpus.split: None there, 'test' asked" in text
    assert "shard_size: 2 there, 3 asked" in text


def test_another_model_is_refused(whole: Run, small: Model) -> None:
    with pytest.raises(LigflowError, match=r"model.weights: 'as loaded' there, 'new weights, seed 1' asked"):
        run(whole.folder, corpus(), replace(small, twin=Twin("new weights", 1)), SMALL, shard_size=2)


def test_a_corpus_that_changed_is_refused(whole: Run, small: Model) -> None:
    with pytest.raises(LigflowError, match="its sentences have changed"):
        run(whole.folder, corpus((*TEXTS[:4], "Why?")), small, SMALL, shard_size=2)


def test_a_file_that_was_not_touched_is_not_read_again(tmp_path: Path, small: Model) -> None:
    source = tmp_path / "corpus.txt"
    source.write_text("The cat slept.\n")
    reads = []

    def read() -> Iterator[Sentence]:
        reads.append(1)
        return (Sentence(n, line, f"{n}") for n, line in enumerate(source.read_text().splitlines()))

    one = Corpus(read, {"source": "made"}, file=source)
    run(tmp_path / "run", one, small, SMALL)
    run(tmp_path / "run", one, small, SMALL)
    assert len(reads) == 1
    source.touch()
    run(tmp_path / "run", one, small, SMALL)
    assert len(reads) == 2


def test_other_versions_are_warned_of_and_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: Model
) -> None:
    run(tmp_path, corpus(TEXTS[:1]), small, SMALL)
    monkeypatch.setattr(plan, "_versions", lambda: {"torch": "9.9"})
    with pytest.warns(errors.RunWarning, match="begun with torch"):
        run(tmp_path, corpus(TEXTS[:1]), small, SMALL)
    assert "versions differ" in (tmp_path / "run.log").read_text()


def test_an_empty_corpus(tmp_path: Path, small: Model) -> None:
    with pytest.raises(LigflowError, match="The corpus has no sentences"):
        run(tmp_path, corpus(()), small, SMALL)


def test_bad_lines_are_in_the_manifest(tmp_path: Path, small: Model) -> None:
    one = corpus()
    one.bad.append(BadLine(3, "made:4", "no tabs"))
    found = run(tmp_path, one, small, SMALL)
    assert found.manifest["corpus"]["bad_lines"] == 1
    assert found.manifest["corpus"]["left_out_lines"] == ["made:4: no tabs"]
