"""An answer's tokens: of a text behind its prompt, and beside those of a contrast."""

import re
from collections.abc import Sequence
from typing import Any

from ligflow.errors import LigflowError
from ligflow.inputs.character_pieces import joined
from ligflow.inputs.token_text import token_texts, tokens_text

Answer = str | int  # a text, or the id of a token
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")


def answer_ids(
    tokenizer: Any,
    answer: object,
    before: str | None,
    prompt: Sequence[int],
    size: int,
    called: str = "answer",
) -> list[int]:
    """The ids of an answer behind a prompt, as the tokenizer writes both together where it can.

    `before` is the prompt's text, None where it is not known; `size` is that of the vocabulary,
    `called` what errors call it. Raises LigflowError for an answer that is empty, that is no text, or that
    the vocabulary has not.
    """
    if isinstance(answer, int) and not isinstance(answer, bool):
        if not 0 <= answer < size:
            raise LigflowError(f"There is no token {answer}: the vocabulary has {size}, from 0.")
        return [answer]
    if not isinstance(answer, str) or not answer:
        raise LigflowError(f"The {called} is {answer!r}; give a text that is not empty, or a token's id.")
    if tokenizer is None:
        raise LigflowError(
            f"The {called}'s text needs the model's tokenizer, and there is none: Explainer(model, "
            "tokenizer), or give the id of a token."
        )
    ids = _behind(tokenizer, answer, before, list(prompt)) or _alone(tokenizer, answer)
    unknown = tokenizer.unk_token_id
    if not ids or (unknown in ids and answer != tokenizer.unk_token):
        raise LigflowError(f"The {called} {answer!r} is not in this model's vocabulary; give one that is.")
    if max(ids) >= size:
        raise LigflowError(
            f"The {called} {answer!r} has token {max(ids)}, and the model's vocabulary ends at {size - 1}; "
            "use the model's own tokenizer."
        )
    return ids


def _behind(tokenizer: Any, answer: str, before: str | None, prompt: list[int]) -> list[int]:
    """The tokens behind those of the prompt when both are one text; none where that changes the prompt's."""
    if before is None:
        return []
    plain = list(tokenizer(before, add_special_tokens=False, verbose=False)["input_ids"])
    both = list(tokenizer(before + answer, add_special_tokens=False, verbose=False)["input_ids"])
    fits = both[: len(plain)] == plain and prompt[-len(plain) :] == plain
    return both[len(plain) :] if fits and plain else []


def _alone(tokenizer: Any, answer: str) -> list[int]:
    return list(tokenizer(answer, add_special_tokens=False, verbose=False)["input_ids"])


def blank_note(tokenizer: Any, answer: object, before: str | None, ids: Sequence[int]) -> tuple[str, ...]:
    """A note where an answer that follows a word has no blank in front, and would be other tokens with it."""
    if not isinstance(answer, str) or not before or not answer[0].isalnum() or _UNSPACED.match(answer):
        return ()
    if before[-1].isspace() or not (before[-1].isalnum() or before[-1] in ".,;:!?)\"'"):
        return ()
    if _alone(tokenizer, f" {answer}") == list(ids):
        return ()
    return (f"the answer {answer!r} begins without a blank; after a word most texts have {f' {answer}'!r}",)


def check_contrast(tokenizer: Any, ids: Sequence[int], others: Sequence[int], taught: bool) -> None:
    """Raises LigflowError unless two answers of as many tokens differ; if `taught` in the last one alone."""
    both = f"{tokens_text(tokenizer, ids)!r} and {tokens_text(tokenizer, others)!r}"
    if list(ids) == list(others):
        raise LigflowError(
            f"The contrast is the answer itself ({tokens_text(tokenizer, ids)!r}); give another one."
        )
    if len(ids) != len(others):
        raise LigflowError(
            f"The answer has {len(ids)} tokens and the contrast {len(others)} ({both}); a contrast is the "
            "difference of two logits in one place, so give one of as many tokens that differs in the last."
        )
    if taught and list(ids[:-1]) != list(others[:-1]):
        raise LigflowError(
            f"The answer and the contrast differ before their last token ({both}), so their last ones stand "
            "behind different texts; give two that differ in the last token alone."
        )


def answer_name(tokenizer: Any, answer: object, ids: Sequence[int]) -> str:
    """What an answer is called: its text, or that of its tokens."""
    return answer if isinstance(answer, str) else joined(token_texts(tokenizer, ids))
