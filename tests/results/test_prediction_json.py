"""JSON of a prediction: all numbers, by name."""

import json

from hand_made_prediction import prediction_of


def test_json_holds_all_numbers_and_labels() -> None:
    prediction = prediction_of(edges=[1], parts=[2])
    data = json.loads(prediction.to_json())
    assert data["relevance"] == prediction.relevance.tolist()
    assert data["by_depth"] == prediction.by_depth.tolist()
    assert data["error"] == prediction.error.tolist()
    assert data["heads"]["2"] == prediction.heads[2].tolist()
    assert data["mlps"]["0"] == prediction.mlps[0].tolist()
    assert data["edges"] == {"1": prediction.edges(1).tolist()}
    split = prediction.edges(2, parts=True)
    assert data["parts"] == {"2": {name: part.tolist() for name, part in vars(split).items()}}
    assert (data["value"], data["reference_value"], data["change"]) == (-0.5, -8.5, 8.0)
    assert data["top"][0] == [" Paris", 0.61]
    assert data["certificates"][0]["points"] == 7
    assert data["kept"] == [True, *[False] * 5]
