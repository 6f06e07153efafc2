"""Whose hidden units are kept with an explanation, and those that are asked for afterwards."""

from pathlib import Path

import pytest
import torch

from ligflow import Explainer, LigflowError
from ligflow.errors import UnsupportedModel
from ligflow.prediction.kept_units import layers_with_units
from ligflow.prediction.prediction import Prediction
from prediction.oracle_families import FAMILIES
from prediction.tiny import gpt2, ids, llama

ASKED = {"answer": 7, "reference": torch.full((5,), 2)}


def explained(model, **more) -> Prediction:
    return Explainer(model).explain_prediction({"input_ids": ids()}, **ASKED, **more)


def test_layers_are_named_all_or_those_of_the_strongest_mlps() -> None:
    mlps = {layer: torch.tensor([float(layer), -1.5]) for layer in range(8)}
    assert layers_with_units(mlps, (-1, 0), 8) == (0, 7)
    assert layers_with_units(mlps, "all", 8) == (0, 1, 2, 3, 4, 5, 6, 7)
    assert layers_with_units(mlps, "strongest", 8) == (3, 4, 5, 6, 7)
    assert layers_with_units(mlps, (), 8) == ()
    with pytest.raises(LigflowError, match="no layer 8; the model has layers 0 to 7"):
        layers_with_units(mlps, (8,), 8)


def test_units_are_a_read_out_that_changes_no_other_number() -> None:
    plain, with_units = explained(llama()), explained(llama(), neurons="all")
    for name in ("by_depth", "error"):
        assert torch.equal(getattr(plain, name), getattr(with_units, name))
    for layer in range(2):
        for name in ("heads", "mlps", "residual"):
            assert torch.equal(getattr(plain, name)[layer], getattr(with_units, name)[layer])
        units = with_units.neurons(layer)
        assert torch.equal(units.node, plain.mlps[layer])
        assert units.certificate < 1e-12
    assert not plain.stored_neurons


def test_units_in_float32_sum_to_their_mlp_within_a_ten_thousandth_of_the_scale() -> None:
    p = explained(llama().float(), neurons=[0, 1])
    assert all(p.neurons(layer).certificate < 1e-5 for layer in range(2))


def test_units_that_were_not_asked_for_are_those_that_were() -> None:
    asked, later = explained(gpt2(), neurons=[-1]), explained(gpt2())
    first, second = asked.neurons(1, top=3), later.neurons(-1, top=3)
    assert torch.equal(first.relevance, second.relevance)
    assert first.rows == second.rows
    assert abs(first.rows[0].relevance) == float(first.relevance.abs().max())
    row = first.rows[0]
    assert float(first.activation[row.position, row.unit]) == row.activation
    assert row.token == asked.tokens[row.position]
    assert row.name == f"unit {row.unit}"


def test_a_file_has_the_units_that_were_kept_and_says_how_to_have_others(tmp_path: Path) -> None:
    p = explained(gpt2(), neurons=[1])
    loaded = Prediction.load(p.save(tmp_path / "p.safetensors"))
    assert loaded.neurons(1).rows == p.neurons(1).rows
    with pytest.raises(LigflowError, match=r"no model to run; .*of layers: 1.*neurons=\[0\]"):
        loaded.neurons(0)
    with pytest.raises(LigflowError, match="no layer 2; the prediction has layers 0 to 1"):
        loaded.neurons(2)
    with pytest.raises(LigflowError, match="whole number from 1"):
        loaded.neurons(1, top=0)


def test_a_mean_has_the_mean_of_units_and_of_what_they_are() -> None:
    ones, twos = (
        Explainer(gpt2()).explain_prediction(
            {"input_ids": ids()}, answer=7, reference=torch.full((5,), token), neurons=[1]
        )
        for token in (2, 3)
    )
    both = Prediction.mean([ones, twos])
    first, second, units = ones.neurons(1), twos.neurons(1), both.neurons(1)
    assert torch.allclose(units.relevance, (first.relevance + second.relevance) / 2)
    assert torch.equal(units.activation, first.activation)
    middle = (first.reference_activation + second.reference_activation) / 2
    assert torch.allclose(units.reference_activation, middle)
    assert units.certificate < 1e-12


def test_a_model_whose_layers_have_no_units_is_told_so() -> None:
    model = FAMILIES["deberta"].built()
    ask = Explainer(model).explain_prediction
    inputs = {"input_ids": torch.tensor([[1, 5, 7, 9]])}
    reference = torch.tensor([1, 4, 4, 4])
    with pytest.raises(UnsupportedModel, match=r"Layer 0 .*told apart.*Leave neurons out"):
        ask(inputs, answer=1, reference=reference, on=[1, 2, 3], neurons=[0])
    with pytest.raises(UnsupportedModel, match=r"Layer 1 .*told apart"):
        ask(inputs, answer=1, reference=reference, on=[1, 2, 3]).neurons(1)


def test_settings_that_would_do_nothing_are_refused() -> None:
    with pytest.raises(LigflowError, match=r"neurons='all' are hidden units .*cut='layer'"):
        explained(gpt2(), neurons="all", cut="layer")
    with pytest.raises(
        LigflowError, match=r"neurons is 3; give the numbers of layers, e.g. neurons=\[0, -1\]"
    ):
        explained(gpt2(), neurons=3)
    with pytest.raises(LigflowError, match="no layer 5"):
        explained(gpt2(), neurons=[5])
