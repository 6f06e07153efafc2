"""An answer's tokens: behind its prompt, beside a contrast, with or without a blank."""

from typing import Any

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from asked_models import byte_tokenizer, gpt2, whole
from ligflow import LigflowError
from ligflow.prediction.answers import answer_ids, blank_note, check_contrast
from ligflow.prediction.targets import question


def marking_tokenizer() -> Any:
    """Letters, with a mark where a text begins, as SentencePiece has it."""
    letters = {letter: place for place, letter in enumerate("▁abcdefghijklmnopqrstuvwxyz?")}
    made = Tokenizer(models.BPE(vocab=letters, merges=[], unk_token="?"))
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    return PreTrainedTokenizerFast(tokenizer_object=made, unk_token="?")


def test_an_answer_has_the_tokens_that_follow_its_prompt() -> None:
    tokenizer = marking_tokenizer()
    prompt = tokenizer("the", add_special_tokens=False)["input_ids"]
    assert answer_ids(tokenizer, "is", "the", prompt, 28) == [9, 19]
    assert answer_ids(tokenizer, "is", None, prompt, 28) == [0, 9, 19]  # alone it begins a text
    assert answer_ids(tokenizer, "is", "the", prompt[:-1], 28) == [0, 9, 19]  # another prompt than the text


def test_a_question_s_answer_is_read_behind_its_text() -> None:
    prepared = whole(gpt2().model, marking_tokenizer())
    asked = question(prepared, "the", answer="is")
    assert asked.inputs["input_ids"].tolist() == [[0, 20, 8, 5, 9]]  # the last letter is what is asked
    assert asked.positions == (3, 4)


def test_answers_that_are_none() -> None:
    tokenizer = marking_tokenizer()
    for answer, size, said in (
        (28, 28, "no token 28: the vocabulary has 28"), (-1, 28, "no token -1"), (True, 28, "answer is True"),
        ("", 28, "answer is ''"), ("!", 28, "'!' is not in this model's vocabulary"),
        ("z", 26, "has token 26, and the model's vocabulary ends at 25"),
    ):  # fmt: skip
        with pytest.raises(LigflowError, match=said):
            answer_ids(tokenizer, answer, None, [], size)
    assert answer_ids(tokenizer, 0, None, [], 28) == [0]


def test_a_word_without_its_blank_is_said() -> None:
    tokenizer = byte_tokenizer()
    ids = tokenizer("Paris")["input_ids"]
    (note,) = blank_note(tokenizer, "Paris", "France is", ids)
    assert "'Paris' begins without a blank; after a word most texts have ' Paris'" in note
    for answer, before in (
        (" Paris", "France is"),
        ("Paris", "is "),
        ("Paris", None),
        (".", "is"),
        (5, "is"),
    ):
        assert blank_note(tokenizer, answer, before, ids) == ()


def test_a_contrast_differs_in_the_last_token_alone_where_others_are_taught() -> None:
    check_contrast(None, [1, 2], [1, 3], taught=True)
    check_contrast(None, [1, 2], [4, 3], taught=False)
    for ids, others, said in (
        ([1, 2], [1, 2], "the answer itself"), ([1, 2], [1], "has 2 tokens and the contrast 1"),
        ([1, 2], [3, 2], "differ before their last token"),
    ):  # fmt: skip
        with pytest.raises(LigflowError, match=said):
            check_contrast(None, ids, others, taught=True)
