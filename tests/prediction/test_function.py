"""Questions that are functions of a model's outputs: their rows, and what is no number."""

import pytest
import torch

from asked_models import bert_base, gpt2
from ligflow import LigflowError
from ligflow.prediction.function import function_question
from ligflow.prediction.own_run import own_run

PROMPT = "The capital of France is"


def test_one_number_is_one_row_and_several_are_as_many() -> None:
    whole = gpt2()
    one = function_question(whole, PROMPT, lambda outputs: outputs.logits[:, -1, 7], False)
    assert (one.rows, one.positions, one.taught) == (("score",), None, (False,) * 5)
    outputs = own_run(whole, one.inputs, None).outputs
    torch.testing.assert_close(one.score(outputs), outputs.logits[:, -1, 7:8])
    two = function_question(whole, PROMPT, lambda outputs: outputs.logits[:, -1, [7, 9]], False)
    assert two.rows == ("score 0", "score 1")


def test_a_model_without_a_head_is_asked_for_its_states() -> None:
    asked = function_question(bert_base(), "the cat sat", lambda o: o.last_hidden_state[:, 0, 3], False)
    assert asked.rows == ("score",)


def test_what_is_no_finite_number_for_each_point_is_refused() -> None:
    for function, said in (
        (lambda outputs: outputs.logits[:, -1, 7] / 0, "give a function that is finite"),
        (lambda outputs: outputs.logits[0, -1, :3], "score gives 3 numbers for a batch of 1 point"),
    ):
        with pytest.raises(LigflowError, match=said):
            function_question(gpt2(), PROMPT, function, False)
