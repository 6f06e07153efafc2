"""Answers token by token: greedy as the model's own generate, taught, each a row."""

from typing import Any

import pytest
import torch

from asked_models import bert_masked, gpt2, llama, t5
from ligflow import LigflowError
from ligflow.prediction import own_answer
from ligflow.prediction.own_answer import answer_question
from ligflow.prediction.own_run import own_run

PROMPT = "The capital of France is"


@pytest.mark.parametrize("model", [gpt2, llama])
def test_the_models_own_answer_is_the_greedy_one(model: Any) -> None:
    whole = model()
    asked = answer_question(whole, PROMPT, max_new_tokens=4)
    prompt = whole.tokenizer(PROMPT, return_tensors="pt")
    with torch.no_grad():
        written = whole.model.generate(
            input_ids=prompt["input_ids"], attention_mask=prompt["attention_mask"], do_sample=False,
            max_new_tokens=4, pad_token_id=0,
        )[0, 5:].tolist()  # fmt: skip
    written = [number for number in written if number not in own_answer.end_ids(whole)]
    assert asked.inputs["input_ids"][0, 5:].tolist() == written[:-1]
    assert len(asked.rows) == len(written)
    assert asked.taught == (False,) * 5 + (True,) * (len(written) - 1)


def test_each_token_of_an_answer_is_a_row_that_sees_those_before() -> None:
    whole, answer = gpt2(), " Paris. The"
    asked = answer_question(whole, PROMPT, answer)
    ids = whole.tokenizer(PROMPT + answer)["input_ids"]
    with torch.no_grad():
        shares = whole.model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
    wanted = [float(shares[place - 1, ids[place]]) for place in range(5, len(ids))]
    rows = asked.score(own_run(whole, asked.inputs, asked.positions).outputs)
    assert rows[0].tolist() == pytest.approx(wanted)
    assert asked.rows == (" Paris", ".", " The")


def test_an_encoder_decoder_answers_too() -> None:
    whole = t5()
    asked = answer_question(whole, "das ist gut", "this is good")
    assert asked.rows == ("this", "is", "good")
    assert asked.inputs["decoder_input_ids"].tolist() == [[0, 6, 7]]


def test_how_an_own_answer_ends_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = llama()
    cut = answer_question(whole, PROMPT, max_new_tokens=2)
    assert cut.rows[0] != cut.rows[1]
    assert any("cut off after 2 tokens" in note for note in cut.notes)
    third = answer_question(whole, PROMPT, max_new_tokens=3)
    second = int(third.inputs["input_ids"][0, 6])
    monkeypatch.setattr(own_answer, "end_ids", lambda _: frozenset([second]))
    ended = answer_question(whole, PROMPT, max_new_tokens=2)
    assert ended.rows == cut.rows[:1]
    assert any("ends there by itself" in note for note in ended.notes)
    first = int(cut.inputs["input_ids"][0, 5])
    monkeypatch.setattr(own_answer, "end_ids", lambda _: frozenset([first]))
    with pytest.raises(LigflowError, match="own answer is empty: it ends the text at once"):
        answer_question(whole, PROMPT)


def test_an_own_answer_ends_where_the_positions_do() -> None:
    ids = torch.full((1, 47), 40)
    asked = answer_question(gpt2(), {"input_ids": ids}, max_new_tokens=9)
    assert len(asked.rows) == 2  # one in the last place, one behind it
    assert asked.inputs["input_ids"].shape == (1, 48)
    assert any("cut off after 2 tokens" in note for note in asked.notes)


def test_what_cannot_be_answered() -> None:
    with pytest.raises(LigflowError, match="BertForMaskedLM writes no text"):
        answer_question(bert_masked(), "the cat")
    with pytest.raises(LigflowError, match="max_new_tokens is 0"):
        answer_question(gpt2(), PROMPT, max_new_tokens=0)
    with pytest.raises(LigflowError, match=r"max_new_tokens=3 is how long .* and the answer is ' Paris'"):
        answer_question(gpt2(), PROMPT, " Paris", max_new_tokens=3)
    with pytest.raises(LigflowError, match="The answer is ''"):
        answer_question(gpt2(), PROMPT, "")
