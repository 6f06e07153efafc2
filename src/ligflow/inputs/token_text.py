"""What a token says, with the blank in front of it where it has one."""

from collections.abc import Iterable
from typing import Any

from ligflow.inputs.character_pieces import named_by_character

_NUMBERS = 2**32  # of tokens


def token_text(tokenizer: Any, number: int) -> str:
    """The text of a token of the vocabulary, as it would stand behind a word; `#7` where it has no name."""
    name = None if tokenizer is None else known_name(tokenizer, number)
    if name is None:
        return f"#{number}"
    text = str(tokenizer.convert_tokens_to_string([name]))
    if name.startswith("▁"):  # a blank, which decoders leave out at the beginning of a text
        text = f" {text.removeprefix(' ')}"
    return text if text and "\ufffd" not in text else str(name)


def known_name(tokenizer: Any, number: int) -> str | None:
    """What a tokenizer calls a token; None for a number that no token can have, and for one that none has."""
    name: str | None = tokenizer.convert_ids_to_tokens([number])[0] if 0 <= number < _NUMBERS else None
    return name


def token_texts(tokenizer: Any, numbers: Iterable[int]) -> tuple[str, ...]:
    """The texts of tokens side by side; pieces of a character are called by it: `é 1/2`, `é 2/2`."""
    numbers = [*numbers]
    texts = [token_text(tokenizer, number) for number in numbers]
    if tokenizer is None:
        return tuple(texts)
    return tuple(named_by_character(tokenizer, [known_name(tokenizer, number) for number in numbers], texts))


def tokens_text(tokenizer: Any, numbers: Iterable[int]) -> str:
    """Tokens side by side with strokes between them, so that one sees where each begins."""
    return "|".join(token_texts(tokenizer, numbers))
