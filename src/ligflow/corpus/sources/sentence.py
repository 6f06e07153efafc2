"""A sentence of a corpus: its text, and where the corpus has them its words and their heads."""

import re
from dataclasses import dataclass

from ligflow.inputs.words import Words

ROOT = -1
_HALVES = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Sentence:
    """`number` is its position in the whole corpus, from 0; `place` says where it stands, to be found again.

    `heads[w]` is the position of word w's syntactic head, ROOT (-1) for the root; `relations[w]` the name of
    that dependency. Both need `spans`: where each word begins and ends in the text. `document` and `genre`
    name what it is taken from, where the corpus tells.
    """

    number: int
    text: str
    place: str
    spans: tuple[tuple[int, int], ...] | None = None
    heads: tuple[int, ...] | None = None
    relations: tuple[str, ...] | None = None
    document: str | None = None
    genre: str | None = None

    @property
    def inputs(self) -> str | Words:
        """What an Explainer takes: the text, with its words where the corpus has them."""
        return self.text if self.spans is None else Words(self.text, self.spans)

    @property
    def content(self) -> tuple[object, ...]:
        """All that decides about its numbers: what it holds but its place."""
        words = (self.spans, self.heads, self.relations)
        return (self.number, self.text, *words, self.document, self.genre)


@dataclass(frozen=True)
class BadLine:
    """Something in a corpus that is no sentence: where it stands, and what was expected there."""

    number: int
    place: str
    problem: str


def half_in(text: str) -> str | None:
    """A half of a character of UTF-16 that stands alone, which no encoding can write; None without one."""
    found = _HALVES.search(text)
    return None if found is None else found[0]


def printable(text: str) -> str:
    """The text with such halves written out, as in `\\ud83d`."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
