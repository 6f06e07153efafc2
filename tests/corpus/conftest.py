"""A small trial of methods, done once."""

from pathlib import Path

import pytest

from kept_run import kept as kept
from ligflow import Explainer
from ligflow.corpus.runs.faithfulness_trial import try_methods
from ligflow.evaluation.shuffled_weights import with_shuffled_weights
from small_trial import SENTENCES, TRIAL


@pytest.fixture(scope="session")
def pair() -> tuple[Explainer, Explainer]:
    explainer = Explainer.from_pretrained()
    return explainer, Explainer(
        with_shuffled_weights(explainer.model), explainer.tokenizer, name=explainer.name
    )


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory, pair: tuple[Explainer, Explainer]) -> Path:
    place = tmp_path_factory.mktemp("trial") / "sentences"
    try_methods(place, *pair, SENTENCES, TRIAL)
    return place
