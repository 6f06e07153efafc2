"""A corpus is read anew at each call, and counts its own bad lines."""

from ligflow.corpus.sources.corpus import Corpus
from ligflow.corpus.sources.sentence import BadLine
from small_runs import corpus


def test_sentences_are_read_anew() -> None:
    few = corpus(("Rain fell.", "Why not?"))
    first, second = list(few.read()), list(few.read())
    assert first == second
    assert [sentence.text for sentence in first] == ["Rain fell.", "Why not?"]
    assert few.about == {"source": "made"}


def test_corpora_do_not_share_their_bad_lines() -> None:
    one, other = Corpus(list, {}), Corpus(list, {})
    one.bad.append(BadLine(1, "made:1", "no text"))
    assert (len(one.bad), other.bad, other.file) == (1, [], None)
