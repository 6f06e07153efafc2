"""Lookups of rows that a table has not."""

import pytest
import torch
from torch import nn

from ligflow import LigflowError
from ligflow.inputs.lookups import known_rows
from ligflow.layer.float64 import keep_double

pytestmark = pytest.mark.parametrize("on_cpu", [True, False], ids=["after an error", "before each lookup"])


def test_a_row_that_is_missing_is_named_with_its_table(on_cpu: bool) -> None:
    model = nn.Sequential(nn.Embedding(4, 2))
    for ids, row in (([[0, 7]], 7), ([[-1, 2]], -1)):
        inputs = {"input_ids": torch.tensor(ids)}
        message = f"Sequential looks up row {row} of '0.weight', which has rows 0 to 3. The input_ids hold"
        with pytest.raises(LigflowError, match=message), known_rows(model, inputs, on_cpu):
            model(inputs["input_ids"])


def test_other_rows_are_no_tokens_of_the_text(on_cpu: bool) -> None:
    model = nn.Sequential(nn.Embedding(4, 2))
    inputs, message = (
        {"input_ids": torch.tensor([[0, 1]])},
        r"These inputs \(input_ids\[1, 2\]\) need a position",
    )
    with pytest.raises(LigflowError, match=message), known_rows(model, inputs, on_cpu):
        model(torch.tensor([[4]]))


def test_rows_that_are_there_are_looked_up(on_cpu: bool) -> None:
    model = nn.Sequential(nn.Embedding(4, 2))
    with known_rows(model, {}, on_cpu):
        assert torch.equal(model(torch.tensor([3])), model[0].weight[3:])
        assert model(torch.empty(0, dtype=torch.long)).shape == (0, 2)


def test_an_index_that_is_of_no_table_is_the_models_own_error(on_cpu: bool) -> None:
    model = nn.Sequential(nn.Embedding(4, 2))
    with pytest.raises(IndexError, match="list index"), known_rows(model, {}, on_cpu):
        [model(torch.tensor([3]))][1]
    with pytest.raises(IndexError, match="Dimension"), known_rows(model, {}, on_cpu):
        model[0].weight.sum(5)


def test_a_table_in_a_mode_is_named_too(on_cpu: bool) -> None:
    """Other modes send a lookup through PyTorch's own handling, which calls the function once more."""
    model = nn.Sequential(nn.Embedding(4, 2)).double()
    message = "row 7 of '0.weight', which has rows 0 to 3"
    with pytest.raises(LigflowError, match=message), keep_double(), known_rows(model, {}, on_cpu):
        model(torch.tensor([7]))
