"""From what is asked to a question: by the head that a model has, or by a function."""

import pytest

from asked_models import bert_base, bert_masked, gpt2, t5
from ligflow import LigflowError
from ligflow.prediction.targets import one_score, question

PROMPT = "The capital of France is"


def test_each_head_has_its_kind_of_question() -> None:
    assert question(gpt2(), PROMPT).kind == "causal"
    assert question(bert_masked(), "the [MASK] sat").kind == "masked"
    assert question(t5(), "this is good").kind == "seq2seq"


def test_a_function_of_the_outputs_says_itself_what_is_asked() -> None:
    def seventh(outputs):
        return outputs.logits[:, -1, 7]

    assert question(gpt2(), PROMPT, score=seventh).rows == ("score",)
    for wish in ({"answer": " Paris"}, {"contrast": " Rome"}, {"position": 2}):
        with pytest.raises(LigflowError, match=f"leave out {next(iter(wish))}"):
            question(gpt2(), PROMPT, score=seventh, **wish)


def test_what_cannot_be_asked_is_refused() -> None:
    with pytest.raises(LigflowError, match=r"BertModel has no head that predicts .*explain_similarity"):
        question(bert_base(), "the cat sat")
    with pytest.raises(LigflowError, match="score is 'loss'; choose from logprob, logit"):
        question(gpt2(), PROMPT, score="loss")
    several = question(gpt2(), PROMPT, score=lambda outputs: outputs.logits[:, -1, [7, 9]])
    with pytest.raises(LigflowError, match="score gives 2 numbers for each point"):
        one_score(several)
