"""Shapes are checked in the first calls of a function in each test, and in no later ones."""

import random

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


def test_the_items_of_lists_that_are_checked_are_the_same_in_each_run_of_a_test() -> None:
    shape_checks.begin_test()
    draws = [random.getrandbits(32) for _ in range(3)]
    random.seed(17)
    shape_checks.begin_test()
    assert [random.getrandbits(32) for _ in range(3)] == draws
