"""Probabilities are those that the score is the logarithm of, and none are made of other scores."""

from dataclasses import replace
from math import log

import pytest

from hand_made_prediction import prediction_of
from ligflow import Prediction
from ligflow.results.answer_probability import answer_probabilities


def asked(**settings: str | None) -> Prediction:
    base = prediction_of()
    meta = {**base.meta, "settings": {"score": "logprob", "contrast": None} | settings}
    return replace(base, value=log(0.77), reference_value=log(0.01), meta=meta)


def test_they_are_the_scores_exponentials() -> None:
    assert answer_probabilities(asked()) == pytest.approx((0.77, 0.01))


def test_rounding_gives_no_more_than_certainty() -> None:
    real, _ = answer_probabilities(replace(asked(), value=1e-7)) or (0, 0)
    assert real == 1


@pytest.mark.parametrize("settings", [{"score": "logit"}, {"contrast": " Rome"}])
def test_other_scores_have_none(settings: dict[str, str]) -> None:
    assert answer_probabilities(asked(**settings)) is None
