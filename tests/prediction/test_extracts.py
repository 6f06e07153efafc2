"""Answers that are marked in a text: the likeliest, a named one, one beside another."""

import functools
from typing import Any

import pytest
import torch
from transformers import BertConfig, BertForQuestionAnswering

from asked_models import BERT, stirred, whole, word_tokenizer
from ligflow import LigflowError, Pair
from ligflow.explainer.prepared_model import PreparedModel
from ligflow.prediction.own_run import own_run
from ligflow.prediction.references import reference
from ligflow.prediction.targets import question, top_of

ASKED = Pair("the cat", "a dog sat on the mat")


@functools.cache
def model() -> PreparedModel:
    config = BertConfig(**BERT, num_labels=2)
    return whole(stirred(BertForQuestionAnswering, config), word_tokenizer())


def ends() -> tuple[torch.Tensor, torch.Tensor]:
    with torch.no_grad():
        outputs = model().model(**word_tokenizer()(ASKED.source, ASKED.target, return_tensors="pt"))
    return outputs.start_logits[0], outputs.end_logits[0]


def test_an_answer_in_the_text() -> None:
    asked = question(model(), ASKED, answer="dog sat")
    first, last = asked.tokens.labels.index("dog"), asked.tokens.labels.index("sat")
    start, end = ends()
    outputs = own_run(model(), asked.inputs, None).outputs
    wanted = start.log_softmax(-1)[first] + end.log_softmax(-1)[last]
    torch.testing.assert_close(asked.score(outputs)[0, 0], wanted)
    assert asked.rows == ("dog sat",)
    between = question(model(), ASKED, answer="dog sat", contrast="mat")
    place = asked.tokens.labels.index("mat")
    logits = start[first] + end[last] - start[place] - end[place]
    torch.testing.assert_close(between.score(outputs)[0, 0], logits)


def test_the_likeliest_answer_by_default_never_ends_before_it_begins() -> None:
    asked = question(model(), ASKED)
    start, end = (each.softmax(-1) for each in ends())
    text = asked.tokens.labels.index("a")
    pairs = {
        (first, last): float(start[first] * end[last])
        for first in range(text, len(start) - 1)
        for last in range(first, len(start) - 1)
    }
    first, last = max(pairs, key=pairs.__getitem__)
    assert asked.rows == (" ".join(asked.tokens.labels[first : last + 1]),)
    top = top_of(asked, own_run(model(), asked.inputs, None).outputs, 3)
    assert [share for _, share in top] == pytest.approx(sorted(pairs.values())[:-4:-1])
    (neutral,) = reference(model(), asked)
    assert neutral.kept.tolist() == list(asked.special)


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"answer": "fish"}, "'fish' occurs not in the input"),
        ({"answer": "the"}, "'the' occurs 2 times"),
        ({"answer": "cat"}, "'cat' occurs in the question alone"),
        ({"answer": 3}, "The answer is 3; give a text"),
        ({"answer": "dog", "contrast": "dog"}, "contrast is the answer itself .'dog'"),
        ({"position": 1}, "marked by its first and last token"),
    ],
)
def test_what_is_no_answer(wish: dict[str, Any], message: str) -> None:
    with pytest.raises(LigflowError, match=message):
        question(model(), ASKED, **wish)
