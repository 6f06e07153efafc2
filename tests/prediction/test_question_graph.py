"""What a question is taken apart into: two runs, whose scores the segments between them lead from and to."""

import pytest
import torch

from ligflow import Explainer, LigflowError
from ligflow.prediction.question_graph import accuracy_of, taken_apart
from prediction.tiny import gpt2, ids


def test_scores_are_those_of_the_model_in_both_runs() -> None:
    model = gpt2()
    other = torch.full((5,), 2)
    inputs = {"input_ids": ids()}
    p = Explainer(model).explain_prediction(inputs, answer=7, contrast=3, reference=other, tol=1e-3)
    subject = vars(p)["_asked"]
    with subject.whole.now().placement.running():
        parts = subject.question, subject.reference, subject.settings
        _, built = taken_apart(subject.whole.now(), *parts)
    logits = [model(input_ids=text.reshape(1, -1)).logits[0, -1] for text in (ids(), other)]
    expected = torch.stack([each[7] - each[3] for each in logits])
    torch.testing.assert_close(torch.stack(built.scores).flatten(), expected)
    assert [call.number for call in built.calls] == [0, 1]
    assert accuracy_of(subject.settings).tol == 1e-3


def test_layers_that_are_not_there_are_refused_before_the_runs() -> None:
    with pytest.raises(LigflowError, match="no layer 2"):
        Explainer(gpt2()).explain_prediction({"input_ids": ids()}, answer=7, reference="mean", edges=[2])
