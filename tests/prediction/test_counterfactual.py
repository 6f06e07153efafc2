"""A text that stands for the input: its ids token by token, the answer's own behind them."""

import pytest

from asked_models import gpt2, t5
from ligflow import LigflowError
from ligflow.prediction.counterfactual import counterfactual_ids
from ligflow.prediction.targets import question

PROMPT, OTHER = "The capital of France is", "The capital of Italy is"


def test_ids_are_those_of_the_text_with_what_is_taught_behind_them() -> None:
    whole = gpt2()
    ids = whole.tokenizer(OTHER)["input_ids"]
    asked = question(whole, PROMPT)
    assert counterfactual_ids(whole, asked, OTHER, range(len(ids)), False) == ids
    longer = question(whole, PROMPT, answer=" Paris is")
    taught = longer.inputs["input_ids"][0].tolist()[len(ids) :]
    assert len(taught) == 1
    assert counterfactual_ids(whole, longer, OTHER, range(len(ids)), False) == [*ids, *taught]


def test_a_text_for_a_span_stands_there_alone_with_a_blank_where_it_has_one() -> None:
    whole = gpt2()
    own = whole.tokenizer(PROMPT)["input_ids"]
    asked, at = question(whole, PROMPT), own.index(whole.tokenizer(" France")["input_ids"][0])
    [italy] = whole.tokenizer(" Italy")["input_ids"]
    wanted = [*own[:at], italy, *own[at + 1 :]]
    assert counterfactual_ids(whole, asked, " Italy", [at], True) == wanted


def test_texts_of_other_lengths_are_shown_side_by_side() -> None:
    whole = gpt2()
    with pytest.raises(LigflowError, match=r"has 6 tokens and the input 5;(?s:.*)input +reference"):
        counterfactual_ids(whole, question(whole, PROMPT), "The capital of Italy is Rome", range(5), False)
    with pytest.raises(LigflowError, match="tokens and what it stands for 1;"):
        counterfactual_ids(whole, question(whole, PROMPT), " Italy is Rome", [3], True)


def test_the_text_of_an_encoder_is_encoded_alone() -> None:
    whole = t5()
    asked = question(whole, "this is good")
    ids = whole.tokenizer("das ist gut")["input_ids"]
    assert counterfactual_ids(whole, asked, "das ist gut", range(3), False) == ids
