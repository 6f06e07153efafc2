"""Tokens that hold some bytes of a character: they are named after the character that they share."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

NOTE = "é 1/2 is the first of two tokens that only together are é: this tokenizer cuts characters into bytes"
_UNREADABLE = "\ufffd"
_PIECE = re.compile(r"(.+) (\d+)/(\d+)", re.DOTALL)
_MOST = 16  # tokens that are one text: a character has four bytes, and tokens may hold the ends of two


def named_by_character(tokenizer: Any, names: Sequence[str | None], labels: Sequence[str]) -> list[str]:
    """Labels of tokens side by side; those that only together are text are called by it: `é 1/2`, `é 2/2`.

    `names` are what the vocabulary calls them. Bytes that are no text with their neighbours keep their label.
    """
    shown, begin = list(labels), 0
    while begin < len(names):
        text, count = _shared_text(tokenizer, names, begin)
        for place in range(count if text else 0):
            shown[begin + place] = f"{text} {place + 1}/{count}"
        begin += count
    return shown


def in_a_row(labels: Sequence[str], further: str = "") -> list[str]:
    """What each label adds to a text: of a character in pieces the first one all of it, others `further`."""
    shown, begin = list(labels), 0
    while begin < len(labels):
        text, count = _pieces(labels[begin:])
        shown[begin : begin + count] = [text, *[further] * (count - 1)]
        begin += count
    return shown


def joined(labels: Iterable[str]) -> str:
    """Labels as one text, in which a character in pieces stands once."""
    return "".join(in_a_row([*labels]))


def pieces_note(labels: Sequence[str]) -> tuple[str, ...]:
    """A note for readers where labels are those of characters in pieces."""
    return () if in_a_row(labels) == list(labels) else (NOTE,)


def _pieces(labels: Sequence[str]) -> tuple[str, int]:
    """The text of the pieces that labels begin with, and how many; their first label and 1 for none."""
    read = _PIECE.fullmatch(labels[0])
    if read is not None and read[2] == "1":
        text, count = read[1], int(read[3])
        if [*labels[:count]] == [f"{text} {place}/{count}" for place in range(1, count + 1)]:
            return text, count
    return labels[0], 1


def _shared_text(tokenizer: Any, names: Sequence[str | None], begin: int) -> tuple[str, int]:
    """The text that tokens from one on are together, and how many; '' and 1 where it is text, or none."""
    together: list[str] = []
    for name in names[begin : begin + _MOST]:
        if name is None or not _is_piece(tokenizer, name):
            break
        together.append(name)
        text = str(tokenizer.convert_tokens_to_string(together))
        if text and _UNREADABLE not in text:
            return text, len(together)
    return "", 1


def _is_piece(tokenizer: Any, name: str) -> bool:
    """Whether a token alone is no text; decoders say so by a sign, or leave its bytes out."""
    text = str(tokenizer.convert_tokens_to_string([name]))
    return _UNREADABLE in text or (not text and "▁" not in name)
