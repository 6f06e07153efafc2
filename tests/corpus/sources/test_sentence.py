"""A sentence: what an Explainer takes of it, and halves of characters."""

from ligflow import Words
from ligflow.corpus.sources.sentence import Sentence, half_in, printable


def test_words_are_taken_where_the_corpus_has_them() -> None:
    assert Sentence(0, "Rain fell.", "a:1").inputs == "Rain fell."
    assert Sentence(0, "Rain fell.", "a:1", ((0, 4), (5, 10))).inputs == Words(
        "Rain fell.", ((0, 4), (5, 10))
    )


def test_halves_of_characters() -> None:
    assert half_in("a 🎈") is None
    assert half_in("a \ud83d b") == "\ud83d"
    assert printable("a \ud83d b") == "a \\ud83d b"
