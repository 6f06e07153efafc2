"""Single words of a corpus."""

import pytest

from ligflow.corpus.analysis.corpus_words import head_of, is_punctuation
from ligflow.corpus.sources.sentence import Sentence
from one_head import SENTENCE


def test_the_word_that_one_hangs_from() -> None:
    assert [head_of(SENTENCE, place) for place in (-1, 0, 1, 2)] == [None, 1, None, 1]
    assert head_of(Sentence(0, "no heads", "x"), 0) is None


@pytest.mark.parametrize(
    ("token", "answer"), [(".", True), ("##)", True), ("▁—", True), ("Ġ$", True), ("a.", False), ("", False)]
)
def test_punctuation(token: str, answer: bool) -> None:
    assert is_punctuation(token) == answer
