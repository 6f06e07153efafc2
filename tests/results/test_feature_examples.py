"""The strongest examples of a feature over a folder of predictions."""

from dataclasses import replace
from pathlib import Path

import pytest

import ligflow
from hand_made_prediction import prediction_of
from ligflow import LigflowError, feature_examples
from results.test_features import features

TOKENS = ["a", "b", "c"]


def test_the_strongest_of_all_files_come_first_by_their_share(tmp_path: Path) -> None:
    weak = prediction_of(TOKENS, stored_features=(features(),))
    double = features(relevance=2 * features().relevance)
    weak.save(tmp_path / "weak.safetensors")
    replace(weak, stored_features=(double,)).save(tmp_path / "strong.safetensors")
    large = replace(
        weak, by_depth=10 * weak.by_depth, stored_features=(double,)
    )  # the same of a larger change
    assert large.scale == pytest.approx(10 * weak.scale)
    large.save(tmp_path / "large.safetensors")
    prediction_of().save(tmp_path / "without.safetensors")
    examples = feature_examples(tmp_path, 4)
    assert [(e.file, e.feature.position, e.feature.relevance) for e in examples] == [
        ("strong.safetensors", 1, -4.0),
        ("weak.safetensors", 1, -2.0),
        ("strong.safetensors", 0, 1.0),
        ("weak.safetensors", 0, 0.5),
        ("large.safetensors", 1, -4.0),
        ("large.safetensors", 0, 1.0),
    ]
    assert examples[0].share == pytest.approx(-4.0 / weak.scale)
    assert (examples[0].text, examples[0].answer) == ("bc", " Paris")
    assert (examples[0].feature.name, examples[0].feature.reference_activation) == ("days", 2.0)
    assert [e.file for e in feature_examples(tmp_path, 7, "small", count=1)] == ["strong.safetensors"]
    assert feature_examples(tmp_path, 8) == []
    assert "feature_examples" in dir(ligflow)


def test_what_a_folder_does_not_hold_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LigflowError, match="no folder"):
        feature_examples(tmp_path / "none", 4)
    prediction_of(TOKENS).save(tmp_path / "a.safetensors")
    with pytest.raises(LigflowError, match="holds 1 predictions, none with features of a dictionary: save"):
        feature_examples(tmp_path, 4)
    p = prediction_of(TOKENS, stored_features=(features(),))
    p.save(tmp_path / "b.safetensors")
    with pytest.raises(LigflowError, match="none with features of the dictionary 'large'"):
        feature_examples(tmp_path, 4, "large")
    with pytest.raises(LigflowError, match="no feature 9; the dictionary has features 0 to 8"):
        feature_examples(tmp_path, 9)
    with pytest.raises(LigflowError, match="whole number from 1"):
        feature_examples(tmp_path, 4, count=0)
    replace(p, stored_features=(features("large"),)).save(tmp_path / "c.safetensors")
    with pytest.raises(LigflowError, match=r"several dictionaries, .*'large' at blocks.*; 'small' at"):
        feature_examples(tmp_path, 4)
    assert len(feature_examples(tmp_path, 4, "large")) == 2
    replace(p, meta={**p.meta, "model": "another"}).save(tmp_path / "d.safetensors")
    with pytest.raises(LigflowError, match="several models: another, made by hand"):
        feature_examples(tmp_path, 4)
