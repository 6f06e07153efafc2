"""The verbs of a prediction lead to what they name, and its line says what it is."""

from hand_made_prediction import prediction_of


def test_the_line_of_a_prediction_says_its_score_and_how_exact_it_is() -> None:
    said = repr(prediction_of(unmet=True))
    assert said.startswith("Prediction(6 tokens, 3 layers, model 'made by hand', value -0.5, ")
    assert "reference_value -8.5, change +8, " in said
    assert "estimated error 1.0e-04, 1 segments miss what they may" in said
