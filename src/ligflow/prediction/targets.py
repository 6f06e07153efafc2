"""From what a user asks to a question that can be explained, by the kind of head that the model has."""

from collections.abc import Callable
from typing import Any

from ligflow.errors import LigflowError
from ligflow.explainer.head import head_of
from ligflow.explainer.prepared_model import PreparedModel
from ligflow.inputs.checks import Inputs
from ligflow.inputs.passages import Passages
from ligflow.prediction.classes import class_question, tag_question
from ligflow.prediction.extracts import extract_question
from ligflow.prediction.function import function_question
from ligflow.prediction.language import causal_question, masked_question, pair_question
from ligflow.prediction.question import Question as Question
from ligflow.prediction.question import top_of as top_of
from ligflow.prediction.scores import check_score
from ligflow.prediction.wish import Wish

_OF_KIND = {
    "causal": causal_question,
    "masked": masked_question,
    "seq2seq": pair_question,
    "sequence classifier": class_question,
    "image classifier": class_question,
    "token classifier": tag_question,
    "question answering": extract_question,
}
_NO_HEAD = (
    "{kind} has no head that predicts a token or a class{why}. It can be asked for the similarity of two "
    "texts (explain_similarity), for maps inside its layers (explain), and for a function of its outputs "
    "(score=lambda outputs: ...). For a next token or a class load the model with its head, "
    "e.g. AutoModelForCausalLM."
)


def question(
    whole: PreparedModel,
    inputs: Inputs,
    answer: str | int | None = None,
    contrast: str | int | None = None,
    position: int | str | None = None,
    score: str | Callable[[Any], Any] = "logprob",
    truncate: bool = False,
) -> Question:
    """What is asked of a whole model: by default what it says itself, its next token or likeliest class.

    `answer` is a text or a token's id, or a class by its name or number; a blank in front counts. Of several
    tokens the score is the sum, and those before the last are taught. `contrast` makes it the difference of
    two logits. `position` is where a head of tokens is read: behind that token by a decoder. `score` is
    "logprob", "logit", or a function of the model's outputs for a batch of points. Passages may bring their
    answer along.

    Raises LigflowError for what the model cannot be asked.
    """
    check_score(score)
    if answer is None and isinstance(inputs, Passages):
        answer = inputs.answer
    if callable(score):
        _refuse_besides(answer=answer, contrast=contrast, position=position)
        return function_question(whole, inputs, score, truncate)
    kind = head_of(whole.model).kind
    if kind not in _OF_KIND:
        why = f" ({whole.headless})" if whole.headless else ""
        raise LigflowError(_NO_HEAD.format(kind=type(whole.model).__name__, why=why))
    return _OF_KIND[kind](whole, inputs, Wish(answer, contrast, position, score), truncate)


def one_score(question: Question) -> Question:
    """The question itself. Raises LigflowError for one of several scores, for an explanation is of one."""
    if len(question.rows) > 1:
        raise LigflowError(
            f"score gives {len(question.rows)} numbers for each point, and an explanation is of one: give a "
            "function of one number, e.g. score=lambda outputs: outputs.logits[:, -1, 7]."
        )
    return question


def _refuse_besides(**wishes: object) -> None:
    """Raises LigflowError for what a function of the outputs leaves no room for."""
    for name, wish in wishes.items():
        if wish is not None:
            raise LigflowError(
                f"score is a function of the outputs, which says itself what is asked; leave out {name}, or "
                "choose a score by name."
            )
