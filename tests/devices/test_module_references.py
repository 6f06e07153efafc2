"""What leads to a module or a weight of a model is told, however deep it lies."""

import weakref
from functools import partial
from types import CellType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from ligflow.devices.module_references import References, content

MODEL = nn.Sequential(nn.Linear(2, 2))
PART = MODEL[0]


def closure(value: Any) -> Any:
    return lambda: value


@pytest.mark.parametrize(
    "wrap",
    [
        lambda value: value,
        closure,
        lambda value: partial(print, value),
        lambda value: {"deep": [(value,)]},
        lambda value: SimpleNamespace(part=value),
        lambda value: lambda own=value: own,
        lambda value: closure(partial(print, [SimpleNamespace(part=value)])),
    ],
)
def test_it_is_reached_through_anything(wrap: Any) -> None:
    references = References(MODEL)
    for value in (PART, PART.weight, weakref.ref(PART), PART.forward):
        assert references.reach(wrap(value))
    for other in (nn.Linear(2, 2), torch.zeros(2), 3, None):
        assert not references.reach(wrap(other))


def test_what_holds_itself_ends() -> None:
    own: list[Any] = []
    own.append(own)
    assert not References(MODEL).reach(own)
    own.append(PART)
    assert References(MODEL).reach(own)


def test_a_cell_that_is_not_filled_holds_nothing() -> None:
    assert content(CellType()) is None
    assert content(CellType(PART)) is PART
