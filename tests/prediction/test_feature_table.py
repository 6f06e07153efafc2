"""Features asked of an explanation, through the public names."""

from dataclasses import replace

import pytest
import torch

from language_models import saved
from ligflow import Explainer, LigflowError, LigflowWarning
from ligflow.prediction.prediction import Prediction
from prediction.dictionaries import dictionary

HOOK = "blocks.1.hook_resid_post"
TEXT = "the cat sat on a mat"


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
