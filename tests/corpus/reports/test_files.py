"""Tables as files."""

import pandas
import pytest

from ligflow.corpus.reports.files import numbered

pytestmark = pytest.mark.usefixtures("no_shape_checks")


def test_layers_heads_and_sentences_are_whole_numbers_in_tables() -> None:
    """Also where some rows have none, which pandas would make 5.0 of."""
    frame = numbered(pandas.DataFrame({"layer": [5, None], "head": [None, 1], "mean": [1.0, 2.5]}))
    assert frame.to_csv(index=False) == "layer,head,mean\n5,,1.0\n,1,2.5\n"
