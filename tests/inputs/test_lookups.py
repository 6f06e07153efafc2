"""Lookups of rows that a table has not."""

import pytest
import torch
from torch import nn

from ligflow import LigflowError
from ligflow.inputs.lookups import known_rows


def test_a_row_that_is_missing_is_named_with_its_table() -> None:
    model = nn.Sequential(nn.Embedding(4, 2))
    for ids, row in (([[0, 7]], 7), ([[-1, 2]], -1)):
        inputs = {"input_ids": torch.tensor(ids)}
        message = f"Sequential looks up row {row} of '0.weight', which has rows 0 to 3. The input_ids hold"
        with pytest.raises(LigflowError, match=message), known_rows(model, inputs):
            model(inputs["input_ids"])


def test_other_rows_are_no_tokens_of_the_text() -> None:
    model = nn.Sequential(nn.Embedding(4, 2))
    inputs, message = (
        {"input_ids": torch.tensor([[0, 1]])},
        r"These inputs \(input_ids\[1, 2\]\) need a position",
    )
    with pytest.raises(LigflowError, match=message), known_rows(model, inputs):
        model(torch.tensor([[4]]))


def test_rows_that_are_there_are_looked_up() -> None:
    model = nn.Sequential(nn.Embedding(4, 2))
    with known_rows(model, {}):
        assert torch.equal(model(torch.tensor([3])), model[0].weight[3:])
        assert model(torch.empty(0, dtype=torch.long)).shape == (0, 2)
