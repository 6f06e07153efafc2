"""The verbs of a prediction lead to what they name, and its line says what it is."""

import pytest
import rich.console
import rich.jupyter

from hand_made_prediction import prediction_of
from ligflow.prediction.answer import Answer
from ligflow.prediction.prediction import Prediction


def test_the_line_of_a_prediction_says_its_score_and_how_exact_it_is() -> None:
    said = repr(prediction_of(unmet=True))
    assert said.startswith("Prediction(6 tokens, 3 layers, model 'made by hand', value -0.5, ")
    assert "reference_value -8.5, change +8, " in said
    assert "estimated error 1.0e-04, 1 segments miss what they may" in said


def test_a_notebook_shows_one_output(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    monkeypatch.setattr(rich.console, "_is_jupyter", lambda: True)
    monkeypatch.setattr(rich.jupyter, "display", lambda segments, text: shown.append(text))
    made = prediction_of(unmet=True)
    assert isinstance(made, Prediction)
    made.show(details=True)
    Answer((made,)).show(details=True)
    assert len(shown) == 2
    assert all("the tokens add up to +8 of +8" in text for text in shown)
