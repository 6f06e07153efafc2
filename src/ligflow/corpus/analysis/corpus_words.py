"""What a corpus says of single words: the word that one hangs from, and whether one is punctuation."""

import unicodedata

from ligflow.corpus.sources.sentence import ROOT, Sentence


def head_of(sentence: Sentence, place: int) -> int | None:
    """The word that a word of a sentence hangs from; None for the root, no word, and without heads."""
    if place < 0 or sentence.heads is None or sentence.heads[place] == ROOT:
        return None
    return sentence.heads[place]


def is_punctuation(token: str) -> bool:
    """Whether all characters of a token are punctuation or symbols."""
    letters = token.strip().removeprefix("##").strip("▁Ġ ")
    return bool(letters) and all(unicodedata.category(c)[0] in "PS" for c in letters)
