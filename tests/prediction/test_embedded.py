"""A question's tokens at the input embeddings: their vectors, those of others, the mean of all."""

import pytest
import torch

from asked_models import gpt2
from ligflow import LigflowError
from ligflow.prediction.embedded import embedded
from ligflow.prediction.targets import question

PROMPT = "The capital of France is"


def test_vectors_are_rows_of_the_table_and_kept_ones_stay() -> None:
    whole = gpt2()
    asked, table = question(whole, PROMPT), whole.model.get_input_embeddings().weight.detach()
    ids = asked.inputs["input_ids"][0]
    at = embedded(whole.model, asked, torch.arange(5) == 0)
    torch.testing.assert_close(at.vectors[0], table[ids])
    other = at.of(torch.full_like(asked.inputs["input_ids"], 7))
    torch.testing.assert_close(other[0], torch.cat([table[ids[:1]], table[[7] * 4]]))
    torch.testing.assert_close(at.mean(), table.double().mean(0))
    assert at.size == len(table)


def test_inputs_without_what_is_replaced_are_refused() -> None:
    whole = gpt2()
    asked = question(whole, PROMPT)
    del asked.inputs["input_ids"]
    with pytest.raises(LigflowError, match="A reference is put on input_ids, which these inputs do not hold"):
        embedded(whole.model, asked, torch.zeros(5, dtype=torch.bool))
