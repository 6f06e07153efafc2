"""An answer token by token: each of them a score, explained by the tokens of the prompt."""

from collections.abc import Iterator
from typing import Any

from ligflow.errors import LigflowError
from ligflow.explainer.head import head_of
from ligflow.explainer.prepared_model import PreparedModel
from ligflow.inputs.checks import Inputs
from ligflow.inputs.passages import Passages
from ligflow.inputs.token_text import token_text, token_texts
from ligflow.inputs.tokens import position_limit, text_config
from ligflow.prediction.answers import blank_note
from ligflow.prediction.language import asked_behind, ids_behind, own_token
from ligflow.prediction.prompt import Prompt, pair_prompt, text_prompt
from ligflow.prediction.question import Question
from ligflow.prediction.scores import tokens_score

_LENGTH = 20  # tokens of the model's own answer, where no number is given


def answer_question(
    whole: PreparedModel,
    prompt: Inputs,
    answer: str | None = None,
    max_new_tokens: int | None = None,
    truncate: bool = False,
) -> Question:
    """An answer as a row for each of its tokens, whose scores are `log p(token | prompt, tokens before)`.

    Without an answer it is the model's own: its likeliest token each time, until it ends the text (the end
    token is no row) or `max_new_tokens` (20) are written. Raises LigflowError for a model that writes no
    text, where the answer is empty, and for `max_new_tokens` beside an answer.
    """
    kind = head_of(whole.model).kind
    if kind not in ("causal", "seq2seq"):
        raise LigflowError(
            f"{type(whole.model).__name__} writes no text; ask it with explain_prediction(...) instead."
        )
    if answer is None and isinstance(prompt, Passages):
        answer = prompt.answer
    opened = pair_prompt(whole, prompt, truncate) if kind == "seq2seq" else _open(whole, prompt, truncate)
    last = len(opened.ids) - 1
    if answer is None:
        ids, notes = _own(whole, opened, _LENGTH if max_new_tokens is None else max_new_tokens)
    elif max_new_tokens is not None:
        raise LigflowError(
            f"max_new_tokens={max_new_tokens!r} is how long the model's own answer may be, and the answer is "
            f"{answer!r}; leave one of them out."
        )
    else:
        ids = ids_behind(whole, opened, answer, last)
        notes = blank_note(whole.tokenizer, answer, opened.text, ids)
    rows = token_texts(whole.tokenizer, ids)
    positions = tuple(range(last, last + len(ids)))
    score = tokens_score(ids, "logprob", rows=True)
    notes = (*opened.notes, *notes)
    return asked_behind(whole, opened, ids, positions, score, rows, kind, range(len(ids)), notes)


def _open(whole: PreparedModel, prompt: Inputs, truncate: bool) -> Prompt:
    return text_prompt(whole, prompt, truncate, closed=False)


def _own(whole: PreparedModel, prompt: Prompt, most: int) -> tuple[list[int], tuple[str, ...]]:
    """The model's own answer, and a note of how it ended."""
    if isinstance(most, bool) or not isinstance(most, int) or most < 1:
        raise LigflowError(f"max_new_tokens is {most!r}; give a whole number from 1 on.")
    ends, written = end_ids(whole), []
    for number in _written(whole, prompt, most):
        written.append(number)
        if number in ends:
            break
    ids = [number for number in written if number not in ends]
    if not ids:
        raise LigflowError(
            f"The model's own answer is empty: it ends the text at once ({_named(whole, ends)}). Give an "
            "answer, or a prompt that asks for one."
        )
    if len(ids) < len(written):
        return ids, ("the answer is the model's own, which ends there by itself",)
    return ids, (f"the answer is the model's own, cut off after {len(ids)} tokens",)


def _written(whole: PreparedModel, prompt: Prompt, most: int) -> Iterator[int]:
    """The likeliest token each time, as long as the model has positions."""
    limit = position_limit(whole.model, whole.tokenizer)
    for _ in range(most):
        number = own_token(whole, prompt, len(prompt.ids) - 1)
        yield number
        if limit is not None and len(prompt.ids) >= limit:
            return
        prompt = prompt.followed_by([number], [token_text(whole.tokenizer, number)], limit)


def end_ids(whole: PreparedModel) -> frozenset[int]:
    """The tokens that end a text, by what the model generates with, its config and its tokenizer say."""
    model, said = whole.model, set()
    for source in (getattr(model, "generation_config", None), text_config(model.config), whole.tokenizer):
        own: Any = getattr(source, "eos_token_id", None)
        said |= {*own} if isinstance(own, list | tuple) else {own}
    return frozenset(number for number in said if number is not None)


def _named(whole: PreparedModel, ends: frozenset[int]) -> str:
    return ", ".join(token_text(whole.tokenizer, number) for number in sorted(ends))
