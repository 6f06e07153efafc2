"""What screens call things, and the names that code has for them: complete, and without two words for one."""

from typing import get_args

import pytest

from ligflow import names
from ligflow.results.tracing import BASELINES


def test_every_name_of_the_code_has_a_word_on_screens() -> None:
    for words, known in (
        (names.HEAD_BASELINES, names.AttBaseline), (names.MLP_BASELINES, names.MlpBaseline),
        (names.LAYER_BASELINES, names.LayerBaseline), (names.ENCODER_BASELINES, names.EncoderBaseline),
        (names.SCALARIZATIONS, names.Scalarization), (names.PRECISIONS, names.Precision),
        (names.EXPERTS, names.Experts), (names.ROUTES, names.Route),
    ):  # fmt: skip
        assert sorted(words.values()) == sorted(get_args(known))
    assert {*names.TRACE_BASELINES.values()} == {*BASELINES}


def test_every_view_says_what_it_needs_and_is_called() -> None:
    assert {*names.NEEDS} == {*names.VIEWS.values()}
    titles = [names.title(view) for view in names.NEEDS]
    assert len({*titles}) == len(titles) == 5
    assert names.title("z2u", 3) == "what head 3 reads"
    assert {*names.ROUTE_TITLES} == {*get_args(names.Route)}


def test_the_default_model_is_that_of_the_package_or_of_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    assert names.default_model() == "embedded:minilm"
    monkeypatch.setattr(names, "find_spec", lambda _: None)
    assert names.default_model() == "sentence-transformers/all-MiniLM-L6-v2"
