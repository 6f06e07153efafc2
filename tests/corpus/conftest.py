"""A small trial of methods, and a run on prompts of a tiny model, each done once."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from kept_run import kept as kept
from language_models import saved
from ligflow import Explainer
from ligflow.corpus.runs.faithfulness_trial import try_methods
from ligflow.corpus.runs.store import Run, open_run
from ligflow.evaluation.shuffled_weights import with_shuffled_weights
from made_once import copy_made_once, made_once
from small_prompts import run_on
from small_trial import SENTENCES, TRIAL


@pytest.fixture(scope="session")
def pair() -> tuple[Explainer, Callable[[int], Explainer]]:
    """A model, and copies of it with shuffled weights by seed."""
    explainer = Explainer.from_pretrained()

    @cache
    def shuffled(seed: int) -> Explainer:
        model = with_shuffled_weights(explainer.model, seed)
        return Explainer(model, explainer.tokenizer, name=explainer.name)

    return explainer, shuffled


@pytest.fixture(scope="session")
def folder(
    tmp_path_factory: pytest.TempPathFactory, pair: tuple[Explainer, Callable[[int], Explainer]]
) -> Path:
    return copy_made_once(
        tmp_path_factory, "trial", lambda place: try_methods(place, *pair, SENTENCES, TRIAL)
    )


@pytest.fixture(scope="session")
def speaker(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a tiny model that continues texts of seven words."""
    return str(made_once(tmp_path_factory, "speaker", lambda place: saved("gpt2", place)))


@pytest.fixture(scope="session")
def predictions(tmp_path_factory: pytest.TempPathFactory, speaker: str) -> Run:
    """An uninterrupted run on five prompts in shards of two."""
    return open_run(copy_made_once(tmp_path_factory, "predictions", lambda place: run_on(speaker, place)))
