"""Where a run stands."""

import pytest

from ligflow.corpus.runs.progress import Meter
from ligflow.corpus.runs.store import Run

pytestmark = pytest.mark.usefixtures("no_shape_checks")


def test_a_meter_does_not_go_back_but_for_a_shard_that_is_lost(whole: Run) -> None:
    seen: list[int] = []
    meter = Meter("model", lambda state: seen.append(state.sentences))
    meter.begin(Run(whole.folder / "none", whole.manifest))
    for sentences in (0, 1, 0, 2):
        meter.ticked(1, sentences)
    meter.lost(1)
    meter.ticked(1, 1)
    meter.finished(1)
    assert seen == [0, 0, 1, 2, 1, 2]
