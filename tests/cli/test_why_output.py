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
