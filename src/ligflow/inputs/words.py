"""Words of a text: as its blanks and signs cut it, or as the tokenizer does where a script has no blanks."""

from collections.abc import Sequence
from dataclasses import dataclass

import regex

from ligflow.errors import LigflowError

Span = tuple[int, int]

_UNSPACED = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}ー]"
_MARK = r"[\p{M}\U0001f3fb-\U0001f3ff]"  # of the character before: accents, vowels, tones of skin
_JOINER = r"[\u200c\u200d]"
_FIRST = rf"[\w--[{_UNSPACED}\p{{M}}\u200c\u200d]]"
_LETTERS = rf"{_FIRST}[[\w{_MARK}{_JOINER}]--{_UNSPACED}]*"
_WORD = regex.compile(
    rf"(?V1)(?P<unspaced>{_UNSPACED}[{_UNSPACED}\p{{M}}]*)|{_LETTERS}(?:['’\-]{_LETTERS})*"
    rf"|[^\w\s](?:{_MARK}|{_JOINER}.)*|\p{{M}}+",
    regex.DOTALL,
)
NOTE = "a script without blanks between words (Chinese, Japanese, Thai): words are the tokenizer's pieces"


def words_of(text: str, offsets: Sequence[Span]) -> tuple[tuple[Span, ...], bool]:
    """Where each word begins and ends, and whether some are pieces of a tokenizer with these `offsets`."""
    spans: list[Span] = []
    pieces = False
    for match in _WORD.finditer(text):
        begin, end = match.span()
        inner = _cuts(begin, end, offsets) if match["unspaced"] else []
        spans += zip([begin, *inner], [*inner, end], strict=True)
        pieces |= bool(inner)
    return tuple(spans), pieces


def _cuts(begin: int, end: int, offsets: Sequence[Span]) -> list[int]:
    """Where inside a stretch of text one token ends and another begins; not within a character's bytes."""
    starts = {low for low, high in offsets if begin < low < end and low < high}
    return sorted(cut for cut in starts if not any(low < cut < high for low, high in offsets))


@dataclass(frozen=True)
class Words:
    """A text whose words are known: `spans[w]` is where word w begins and ends in it."""

    text: str
    spans: tuple[tuple[int, int], ...]

    @staticmethod
    def joined(words: Sequence[str], spaces: Sequence[bool] | None = None) -> "Words":
        """Words one after the other, each with a blank behind it unless `spaces` says that there is none.

        Raises LigflowError where a word is not a text, or is blank.
        """
        text, spans = "", []
        for number, word in enumerate(words):
            if not isinstance(word, str) or not word.strip():
                raise LigflowError(f"Word {number} is {word!r}; give words that are texts and not blank.")
            spans.append((len(text), len(text) + len(word)))
            text += word if spaces is not None and not spaces[number] else f"{word} "
        return Words(text.rstrip(), tuple(spans))
