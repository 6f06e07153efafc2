"""A flow whose figures are looked at, and the numbers in a figure."""

from dataclasses import replace
from typing import Any

import numpy as np

from browser import flow_of
from ligflow import Flow

TOKENS = ["[CLS]", "the", "$x$ <b>", "keeper"]


def one_large_cell() -> Flow:
    """Three layers; in layer 1, source 0 gives target 2 nearly its whole row."""
    made = flow_of(TOKENS, layers=3)
    z2z = made.z2z.clone()
    z2z[1] = 0.01
    z2z[1, 2, 0] = 9
    return replace(made, tensors={**made.tensors, "z2z": z2z})


def drawn(figure: Any, place: int = 0) -> np.ndarray:
    return np.asarray(figure.axes[place].images[0].get_array())
