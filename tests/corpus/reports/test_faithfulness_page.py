"""The page on a trial of methods."""

import pandas
import pytest

from ligflow.corpus.analysis.faithfulness_ranking import is_control, standings
from ligflow.corpus.reports.faithfulness_page import standing_table
from ligflow.corpus.tables.faithfulness_rows import MEASURES
from small_trial import made

pytestmark = pytest.mark.usefixtures("no_shape_checks")


def test_a_table_in_the_order_of_the_places() -> None:
    frames = [made({"one": [0.1] * 9, "other": [0.2] * 9, "random": [0.9] * 9}, m) for m in MEASURES]
    text = standing_table(standings(pandas.concat(frames), draws=100), "zero")
    assert [line.split(" | ")[0] for line in text.splitlines()[2:]] == ["| other", "| one", "| random"]
    assert "**0.200 ± 0.000**" in text
    assert is_control("random")
