"""The strongest examples of a hidden unit over a folder of predictions."""

from dataclasses import replace
from pathlib import Path

import pytest

import ligflow
from hand_made_prediction import prediction_of
from ligflow import LigflowError, neuron_examples
from results.test_neurons import with_units


def test_the_strongest_of_all_files_come_first_by_their_share(tmp_path: Path) -> None:
    weak = with_units()
    strong = replace(weak, stored_neurons={1: 2 * weak.stored_neurons[1]}, value=weak.value)
    weak.save(tmp_path / "weak.safetensors")
    strong.save(tmp_path / "strong.safetensors")
    prediction_of().save(tmp_path / "without.safetensors")
    examples = neuron_examples(tmp_path, 1, 3)
    assert [(e.file, e.neuron.position, e.neuron.relevance) for e in examples] == [
        ("strong.safetensors", 4, 4.0),
        ("strong.safetensors", 5, 2.0),
        ("weak.safetensors", 4, 2.0),
        ("weak.safetensors", 5, 1.0),
    ]
    assert examples[0].share == pytest.approx(4.0 / weak.scale)
    assert (examples[0].text, examples[0].answer) == ("The capital of France is", " Paris")
    assert examples[0].neuron.name == "expert 1, unit 1"
    assert len(neuron_examples(tmp_path, -2, 1, count=1)) == 1
    assert "neuron_examples" in dir(ligflow)


def test_what_a_folder_does_not_hold_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LigflowError, match="no folder"):
        neuron_examples(tmp_path / "none", 1, 3)
    with pytest.raises(LigflowError, match="holds 0 predictions, none with the hidden units of layer 1"):
        neuron_examples(tmp_path, 1, 3)
    with_units().save(tmp_path / "a.safetensors")
    with pytest.raises(LigflowError, match=r"none with the hidden units of layer 0: .*neurons=\[0\]"):
        neuron_examples(tmp_path, 0, 3)
    with pytest.raises(LigflowError, match="no unit 5; layer 1 has units 0 to 4"):
        neuron_examples(tmp_path, 1, 5)
    with pytest.raises(LigflowError, match="whole number from 1"):
        neuron_examples(tmp_path, 1, 3, count=0)
    p = with_units()
    replace(p, meta={**p.meta, "model": "another"}).save(tmp_path / "b.safetensors")
    with pytest.raises(LigflowError, match="several models: another, made by hand"):
        neuron_examples(tmp_path, 1, 3)
