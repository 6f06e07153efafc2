"""Positions on an axis."""

from typing import Any

import numpy as np
import pytest
import torch

from ligflow import LigflowError
from ligflow.inputs.positions import positions


def test_positions_are_in_order_and_once_each() -> None:
    assert positions("layer", None, 3) == [0, 1, 2]
    assert positions("layer", -1, 3) == [2]
    assert positions("layer", [2, -3, 0], 3) == [0, 2]
    assert positions("layer", np.array([1, 0]), 3) == positions("layer", torch.tensor([0, 1]), 3) == [0, 1]


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        (3, "There is no layer 3: there are 3, numbered 0 to 2"),
        ([-4], "There is no layer -4"),
        ([], "No layer was chosen"),
        (True, "layers is True; give whole numbers"),
        ([0.5], "give whole numbers"),
    ],
)
def test_other_positions_are_refused(chosen: Any, message: str) -> None:
    with pytest.raises(LigflowError, match=message):
        positions("layer", chosen, 3)
