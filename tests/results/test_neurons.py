"""Tables of hidden units: the strongest, their names, and what they are in both runs."""

import json

import pytest
import torch

from hand_made_prediction import prediction_of
from ligflow import LigflowError, Prediction
from ligflow.results.neurons import strongest_units, unit_called

GROUPS = [("expert 0", 2), ("expert 1", 2), ("expert 1, output bias", 1)]


def with_units(**more) -> Prediction:
    relevance = torch.zeros(6, 5, dtype=torch.float64)
    relevance[5] = torch.tensor([0.5, -3.0, 0.0, 1.0, 0.25])
    relevance[4, 3] = 2.0
    activations = torch.stack([relevance + 1, relevance - 1])
    p = prediction_of()
    return prediction_of(
        mlps={**p.mlps, 1: relevance.sum(-1)},
        stored_neurons={1: relevance},
        stored_activations={1: activations},
        meta={**p.meta, "units": {"1": GROUPS}},
        **more,
    )


def test_units_are_called_by_their_expert_and_their_number_there() -> None:
    names = [unit_called(GROUPS, unit) for unit in range(5)]
    assert names == [
        "expert 0, unit 0",
        "expert 0, unit 1",
        "expert 1, unit 0",
        "expert 1, unit 1",
        GROUPS[2][0],
    ]
    assert unit_called([("", 7)], 3) == "unit 3"
    with pytest.raises(LigflowError, match="no such unit; the layer has 5"):
        unit_called(GROUPS, 5)


def test_the_strongest_come_first_and_what_is_0_is_left_out() -> None:
    units = with_units().neurons(1, top=3)
    assert [(row.position, row.unit, row.relevance) for row in units.rows] == [
        (5, 1, -3.0),
        (4, 3, 2.0),
        (5, 3, 1.0),
    ]
    assert (units.rows[0].activation, units.rows[0].reference_activation) == (-2.0, -4.0)
    assert len(with_units().neurons(-2, top=20).rows) == 5
    assert strongest_units(torch.zeros(2, 3), 4) == []
    assert units.certificate == 0


def test_a_table_has_a_row_for_each_and_all_are_in_the_predictions() -> None:
    table = with_units().neurons(1, top=2).to_pandas()
    assert table["name"].tolist() == ["expert 0, unit 1", "expert 1, unit 1"]
    assert table["token"].tolist() == [" is", " France"]
    every = with_units().to_pandas()
    units = every[every["kind"] == "neuron"]
    assert units["relevance"].sum() == pytest.approx(float(with_units().mlps[1].sum()))
    assert units["unit_name"].tolist().count("expert 1, unit 1") == 2
    assert units["activation"].tolist() == [value + 1 for value in units["relevance"]]
    data = json.loads(with_units().to_json())
    assert data["neurons"]["1"][5][1] == -3.0
    assert data["activations"]["1"][1][5][1] == -4.0


def test_units_that_are_not_stored_are_an_error_that_says_how_to_have_them(tmp_path) -> None:
    p = Prediction.load(with_units().save(tmp_path / "p.safetensors"))
    assert p.neurons(1).rows == with_units().neurons(1).rows
    with pytest.raises(LigflowError, match=r"stored of layers: 1.*neurons=\[0\]"):
        p.neurons(0)


def test_a_file_whose_units_have_no_names_is_damaged(tmp_path) -> None:
    p = with_units()
    p.meta["units"]["1"] = GROUPS[:2]
    with pytest.raises(LigflowError, match="hidden units of layer 1 lack"):
        Prediction.load(p.save(tmp_path / "p.safetensors"))
