"""The chain of an explanation, run again for what is asked of it afterwards."""

from pathlib import Path

import pytest
import torch

from ligflow import Explainer, LigflowError
from ligflow.prediction.again import chained_again
from ligflow.prediction.prediction import Prediction
from prediction.tiny import gpt2, ids

INSTEAD = "explain again"


def test_the_chain_is_that_of_the_explanation_and_runs_once() -> None:
    p = Explainer(gpt2()).explain_prediction({"input_ids": ids()}, answer=7, reference=torch.full((5,), 2))
    with chained_again(p, INSTEAD) as first:
        torch.testing.assert_close(first.result.by_depth[first.row], p.by_depth, atol=1e-12, rtol=1e-12)
        assert [call.number for call in first.built.calls] == [0, 1]
    with chained_again(p, INSTEAD) as second:
        assert second is first


def test_a_file_a_mean_and_a_model_that_was_changed_have_no_chain(tmp_path: Path) -> None:
    model = gpt2()
    inputs = {"input_ids": ids()}
    p = Explainer(model).explain_prediction(inputs, answer=7, reference=torch.full((5,), 2))
    for without in (Prediction.load(p.save(tmp_path / "p.safetensors")), Prediction.mean([p, p])):
        with (
            pytest.raises(LigflowError, match="no model to run; explain again"),
            chained_again(without, INSTEAD),
        ):
            pass
    with torch.no_grad():
        model.transformer.h[1].mlp.c_proj.weight.mul_(2)
    with pytest.raises(LigflowError, match="weights were changed"), chained_again(p, INSTEAD):
        pass
