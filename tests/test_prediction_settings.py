"""What is refused before any work: settings that are none, and those that would do nothing beside others."""

import inspect
from typing import Any

import pytest

from ligflow import Explainer, LigflowError
from ligflow.prediction_settings import (
    AnswerOptions,
    PredictionOptions,
    PredictionSettings,
    SimilarityOptions,
    ask,
)

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"cut": "heads"}, "Unknown cut 'heads'; choose from modules, layer, model"),
    ({"attention": "frozen"}, "Unknown attention 'frozen'; choose from moved, held"),
    ({"experts": "moved"}, "Unknown experts 'moved'; choose from routed, held"),
    ({"edges": "none"}, "Unknown edges 'none'; choose from strongest, all"),
    ({"edges": None}, "edges is None; give the numbers of layers"),
    ({"edges": 0}, "edges is 0; give the numbers of layers"),
    ({"edges": [1.0]}, r"edges is \[1.0\]; give the numbers"),
    ({"edges": [True]}, r"edges is \[True\]; give the numbers"),
    ({"edges": ["0"]}, r"edges is \['0'\]; give the numbers"),
    ({"edges": "all", "cut": "layer"}, "edges='all' are what heads read, and cut='layer' knows no heads"),
    ({"edges": [0], "cut": "model"}, r"edges=\(0,\) are what heads read, and cut='model' knows no heads"),
    ({"tol": 0}, "tol is 0; it is a relative error"),
    ({"tol": 1.0}, "tol is 1.0; it is"),
    ({"tol": True}, "tol is True"),
    ({"tol": float("nan")}, "tol is nan"),
    ({"points": 5}, "points is 5; choose from 3, 7, 15, 31"),
    ({"points": 1}, "points is 1; choose from 3"),  # no coarser rule would tell what it is off
    ({"points": True}, "points is True; choose"),
    ({"points": 7.0}, "points is 7.0; choose"),
    ({"truncate": "no"}, "truncate is 'no'; give True or False"),
    ({"parts": 1}, "parts is 1; give True or False"),
    ({"max_points": 6}, "max_points is 6; segments begin with 7"),
    ({"max_points": True}, "max_points is True"),
    (
        {"points": 31, "max_points": 7},
        "points=31 is how many every segment takes, and max_points=7 .* at most",
    ),
]


@pytest.mark.parametrize(("settings", "said"), REFUSED, ids=[str(settings) for settings, _ in REFUSED])
def test_what_is_no_setting_or_does_nothing_is_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(LigflowError, match=said):
        PredictionSettings(**settings)


def test_layers_are_numbers_in_the_order_that_is_asked_for() -> None:
    assert PredictionSettings(edges=range(2)).edges == (0, 1)
    assert PredictionSettings(edges=[-1, 0]).edges == (-1, 0)
    assert PredictionSettings(cut="layer", edges=()).edges == ()
    assert PredictionSettings(cut="model").edges == "strongest"


def test_options_stand_in_the_signature_with_the_defaults_that_are_taken() -> None:
    parameters = inspect.signature(Explainer.explain_prediction).parameters
    assert [name for name in parameters if name in PredictionOptions.__annotations__] == [
        "reference", "cut", "attention", "experts", "edges", "tol", "max_points", "points", "parts",
        "neurons", "features", "truncate", "on", "score",
    ]  # fmt: skip
    assert parameters["edges"].default == ask(PredictionOptions, {}).edges == "strongest"
    for method, kind in (
        (Explainer.explain_answer, AnswerOptions),
        (Explainer.explain_similarity, SimilarityOptions),
    ):
        assert inspect.signature(method).parameters["edges"].default == ask(kind, {}).edges == ()
    assert ask(AnswerOptions, {"edges": [1], "tol": 0.5}).edges == (1,)


def test_an_option_of_another_question_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'score'; choose from reference, cut"):
        ask(AnswerOptions, {"score": "logit"})
    with pytest.raises(TypeError, match="unexpected keyword argument 'tolerance'; choose from"):
        ask(SimilarityOptions, {"tolerance": 1, "on": 0})
