"""What `ligflow why` prints of sums over spans."""

from dataclasses import replace

import pytest

from hand_made_prediction import prediction_of
from ligflow.cli.output import Outputs
from ligflow.cli.why_output import deliver


def test_sums_over_spans_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    prediction = prediction_of()
    turns = {"turns": [["user", [1, 2, 3, 4]], ["assistant", [5]]]}
    prediction = replace(prediction, meta={**prediction.meta, "spans": turns})
    deliver(prediction, Outputs(), "turns")
    (user,) = (line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("user"))
    assert float(user[1]) == pytest.approx(float(prediction.relevance[1:5].sum()), rel=5e-3)


def test_of_a_question_with_passages_these_are_summed(capsys: pytest.CaptureFixture[str]) -> None:
    prediction = prediction_of()
    spans = {"passages": [["passage 1", [1, 2]], ["passage 2", [4]]]}
    deliver(replace(prediction, meta={**prediction.meta, "spans": spans}), Outputs(), None)
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("passage ") for line in lines) == 2
    assert any(line.startswith("the rest ") for line in lines)
