"""Features asked of an explanation, through the public names."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from language_models import saved, tokenizer
from ligflow import Explainer, LigflowError, LigflowWarning, read_dictionary
from ligflow.dictionaries.feature_names import FeatureName
from ligflow.prediction.prediction import Prediction
from ligflow.prediction_settings import PredictionSettings
from ligflow.results.features import ENTRIES, NODES
from prediction.dictionaries import dictionary

HOOK = "blocks.1.hook_resid_post"
TEXT = "the cat sat on a mat"
NUMBER = 31  # a feature with much relevance


@pytest.fixture(scope="module")
def prediction(tmp_path_factory: pytest.TempPathFactory) -> Prediction:
    folder = saved("gpt2", tmp_path_factory.mktemp("model"))
    explained: Prediction = Explainer.from_pretrained(folder).explain_prediction(TEXT, answer="on")
    return explained


def test_features_sum_to_the_change_of_the_score(prediction: Prediction) -> None:
    before = prediction.relevance.clone()
    features = prediction.features(dictionary(32, HOOK))
    assert len(features.tokens) == len(prediction.tokens)
    assert float(features.total.sum()) == pytest.approx(prediction.change, abs=1e-4 * prediction.scale)
    assert torch.equal(prediction.relevance, before)
    assert "features" in repr(features)


def test_the_strongest_are_listed_and_the_others_are_summed(prediction: Prediction) -> None:
    every, top = (prediction.features(dictionary(32, HOOK), count) for count in (None, 3))
    assert [row.feature for row in top.rows()] == [row.feature for row in every.rows()[:3]]
    assert torch.allclose(top.total, every.total)
    assert float(top.others.abs().sum()) > 0
    assert not every.others.any()


def test_a_dictionary_of_another_model_is_told(prediction: Prediction) -> None:
    named = replace(prediction, meta={**prediction.meta, "model": "my/gpt2-124m"})
    vars(named)["_asked"] = vars(prediction)["_asked"]
    with pytest.warns(LigflowWarning, match="says that it is for pythia-70m, and the model is my/gpt2-124m"):
        named.features(dictionary(32, HOOK, model="pythia-70m"))


def test_an_explanation_from_a_file_has_no_model(prediction: Prediction, tmp_path) -> None:
    loaded = Prediction.load(prediction.save(tmp_path / "p.safetensors"))
    with pytest.raises(LigflowError, match="no model to run; explain the input again"):
        loaded.features(dictionary(32, HOOK))


def test_counts_that_are_none(prediction: Prediction) -> None:
    with pytest.raises(LigflowError, match="top is 0"):
        prediction.features(dictionary(32, HOOK), top=0)


@pytest.fixture(scope="module")
def stored(prediction: Prediction) -> Prediction:
    explainer = Explainer(vars(prediction)["_asked"].whole.model, tokenizer())
    coder = replace(dictionary(32, HOOK, scaling="norm", name="small"), names={NUMBER: FeatureName("cats")})
    explained: Prediction = explainer.explain_prediction(TEXT, answer="on", features=coder)
    return explained


def test_features_that_were_asked_for_change_no_other_number(
    prediction: Prediction, stored: Prediction
) -> None:
    assert torch.equal(stored.relevance, prediction.relevance)
    assert torch.equal(stored.by_depth, prediction.by_depth)
    features = stored.features()
    assert torch.equal(features.relevance, stored.features("small").relevance)
    again = stored.features(dictionary(32, HOOK, scaling="norm"))
    assert torch.allclose(again.relevance, features.relevance)
    assert features.strongest(2).others.any()


def test_files_keep_features_with_their_names(stored: Prediction, tmp_path) -> None:
    loaded = Prediction.load(stored.save(tmp_path / "p.safetensors"))
    own, other = stored.features(), loaded.features("small")
    for name in (*ENTRIES, *NODES):
        assert torch.equal(getattr(own, name), getattr(other, name))
    assert (other.names, other.count, other.hook) == ({NUMBER: ("cats", "")}, 40, HOOK)
    assert float(other.bias.abs().sum()) > 0


def test_tables_and_json_hold_features(stored: Prediction) -> None:
    features, table = stored.features(), stored.to_pandas()
    rows = table[table["kind"].str.startswith("feature")]
    assert rows["relevance"].sum() == pytest.approx(float(features.total.sum()))
    assert {*rows["kind"]} == {"feature", "feature rest", "feature bias"}
    assert {*rows["dictionary"]} == {"small"}
    assert (rows["unit_name"] == "cats").sum() == int((features.features == NUMBER).sum()) > 0
    (data,) = json.loads(stored.to_json())["features"]
    assert data["entries"][0] == vars(features.rows()[0])
    assert data["rest"] == features.rest.tolist()


def test_the_page_and_the_notebook_list_features(stored: Prediction, tmp_path) -> None:
    page = stored.to_html(tmp_path / "p.html").read_text()
    assert f"Features of small at {HOOK}" in page
    assert f"cats ({NUMBER})" in stored.features()._repr_html_()
    assert f"Features of small at {HOOK}" in stored._repr_html_()


def test_means_and_answers_sum_features(stored: Prediction) -> None:
    mean = Prediction.mean([stored, stored])
    assert torch.allclose(mean.features().total, stored.features().total)
    assert mean.features().rows()[0].activation == pytest.approx(stored.features().rows()[0].activation)


def test_what_is_not_stored_is_said(prediction: Prediction) -> None:
    with pytest.raises(LigflowError, match="Say of which dictionary \\(stored: none\\)"):
        prediction.features()
    with pytest.raises(LigflowError, match="There is no dictionary 'other'"):
        prediction.features("other")


@pytest.mark.parametrize("features", [3, [None], {"a": 1}])
def test_what_is_no_dictionary(features: object) -> None:
    with pytest.raises(LigflowError, match="give a dictionary of read_dictionary"):
        PredictionSettings(features=features)


def test_a_model_as_one_has_no_hook_points() -> None:
    with pytest.raises(LigflowError, match="cut='model' cuts none"):
        PredictionSettings(features=dictionary(32, HOOK), cut="model")


@pytest.mark.slow
def test_features_of_smollm2_at_layer_20(no_shape_checks: None) -> None:
    """The dictionary of `examples/train_dictionary.py`: sums close, and most of the change is in features."""
    coder = read_dictionary(Path(__file__).parents[1] / "dictionaries" / "smollm2-layer-20")
    explainer = Explainer.from_pretrained("embedded:smollm2")
    p = explainer.explain_prediction("Monday, Tuesday, Wednesday, Thursday,", features=coder)
    features = p.features()
    assert float(features.total.sum()) == pytest.approx(p.change, abs=1e-3 * p.scale)
    depth = p.by_depth[p.cuts.index("layer 21")]
    assert float((features.total - depth).abs().max()) < 1e-5 * p.scale
    assert features.unexplained < 0.3
    assert float(features.by_token.sum()) > 0.5 * p.change
