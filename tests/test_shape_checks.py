"""Shapes are checked in the first calls of a function in each test, and in no later ones."""

import pytest
import torch
from jaxtyping import TypeCheckError

import shape_checks
from ligflow.method.attention import softmax

SCORES, SINK = torch.zeros(1, 2, 3, 4), torch.zeros(2)


def test_the_calls_of_each_test_are_counted_anew() -> None:
    for _ in range(shape_checks.CALLS):
        softmax(SCORES, SINK)
    softmax(SCORES, SINK[None, :])  # of another shape, which is not looked at any more
    shape_checks.begin_test()
    with pytest.raises(TypeCheckError):
        softmax(SCORES, SINK[None, :])
