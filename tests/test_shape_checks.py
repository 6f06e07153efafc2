"""Shapes are checked once for each way of a call, in the first calls of a function in each test."""

import random
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError
from torch import Tensor

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


@dataclass
class Held:
    part: Tensor


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((SCORES,), (SCORES[0],)),
        ((SCORES,), (SCORES.double(),)),
        (([SCORES, SINK],), ([SINK, SCORES],)),
        (({"a": SCORES},), ({"a": SINK},)),
        ((Held(SCORES),), (Held(SINK),)),
        (([Held(SCORES)],), ([Held(SINK)],)),
        ((np.zeros(2),), (np.zeros(3),)),
        ((1,), (2,)),
    ],
)
def test_calls_of_another_way_are_checked_and_those_of_one_way_once(
    first: tuple[object], second: tuple[object]
) -> None:
    watched: list[object] = []

    def function(_: object) -> None: ...

    call = shape_checks._at_first(function, watched.append)
    for arguments in (first, first, second, first, second):
        call(*arguments)
    assert watched == [*first, *second]


def test_functions_that_come_and_go_are_each_checked() -> None:
    watched: list[object] = []
    for _ in range(50):  # a later one may stand where an earlier one stood in memory
        shape_checks._at_first(lambda _: None, watched.append)(SCORES)
        shape_checks.begin_test()
    assert len(watched) == 50


def test_a_way_that_was_wrong_is_checked_again() -> None:
    for _ in range(2):
        with pytest.raises(TypeCheckError):
            softmax(SCORES, SINK[None, :])


@pytest.mark.usefixtures("no_shape_checks")
def test_no_way_is_held_for_checked_where_nothing_is_checked() -> None:
    before = len(shape_checks._checked)
    softmax(torch.zeros(1, 2, 3, 41), SINK)
    assert len(shape_checks._checked) == before
