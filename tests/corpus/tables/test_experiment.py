"""What is asked of each sentence."""

from typing import Any

import pytest

from ligflow import LigflowError
from ligflow.corpus.tables.experiment import Experiment

pytestmark = pytest.mark.usefixtures("no_shape_checks")


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"units": ("letter",)}, "Unknown unit 'letter'"),
        ({"units": ()}, "give each of token, word at most once"),
        ({"units": ("token", "token")}, "give each of token, word at most once"),
        ({"top_k": 0}, "top_k is 0"),
        ({"tol": 2.0}, "tol is 2.0"),
        ({"quadrature": "simpson"}, "simpson"),
    ],
)
def test_bad_experiments(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(LigflowError, match=message):
        Experiment(**kwargs)
