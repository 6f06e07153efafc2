"""What a report says, as data."""

from pathlib import Path

import pytest

from ligflow import LigflowError
from ligflow.corpus.reports.report import report
from runs_by_hand import run_by_hand

pytestmark = pytest.mark.usefixtures("no_shape_checks")


def test_a_twin_that_is_none_is_refused(tmp_path: Path) -> None:
    one, other = run_by_hand(tmp_path / "one"), run_by_hand(tmp_path / "other", sentences=11)
    with pytest.raises(LigflowError, match="is no twin of"):
        report(one.folder, twin=other.folder)
