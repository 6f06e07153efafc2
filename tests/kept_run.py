"""A run that kept its maps, of a sentence with words and heads, one without, and one that is too long."""

from collections.abc import Iterator

import pytest

from ligflow import Words
from ligflow.corpus.runs.runner import run
from ligflow.corpus.runs.store import Run, open_run
from ligflow.corpus.sources.corpus import Corpus
from ligflow.corpus.sources.sentence import Sentence
from ligflow.corpus.tables.experiment import Experiment
from made_once import copy_made_once


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Run:
    def read() -> Iterator[Sentence]:
        words = Words.joined(["Rain", "fell", "softly", "."], [True, True, False, True])
        yield Sentence(0, words.text, "a", words.spans, (1, -1, 1, 1), ("nsubj", "root", "advmod", "punct"))
        yield Sentence(1, "The cat slept on the mat.", "b")
        yield Sentence(2, "word " * 600, "c")

    experiment = Experiment(layers=(0, 1), maps=True)
    made = Corpus(read, {"source": "made"})
    return open_run(
        copy_made_once(tmp_path_factory, "kept", lambda folder: run(folder, made, experiment=experiment))
    )
