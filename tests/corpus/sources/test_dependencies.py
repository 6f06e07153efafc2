"""Sentences with words and heads: CoNLL-U, and a treebank as text."""

from pathlib import Path

import pytest

from corpus_files import sentences, words_of, written
from ligflow.corpus.sources.readers import read
from ligflow.corpus.sources.sentence import BadLine, Sentence
from ligflow.inputs.words import Words

CONLLU = """\
# sent_id = a
# text = I don't go  to the "cinéma".
1\tI\t_\t_\t_\t_\t4\tnsubj\t_\t_
2-3\tdon't\t_\t_\t_\t_\t_\t_\t_\t_
2\tdo\t_\t_\t_\t_\t4\taux\t_\t_
3\tn't\t_\t_\t_\t_\t4\tadvmod\t_\t_
4\tgo\t_\t_\t_\t_\t0\troot\t_\t_
4.1\tnow\t_\t_\t_\t_\t_\t_\t_\t_
5\tto\t_\t_\t_\t_\t8\tcase\t_\t_
6\tthe\t_\t_\t_\t_\t8\tdet\t_\t_
7\t"\t_\t_\t_\t_\t8\tpunct\t_\tSpaceAfter=No
8\tcinéma\t_\t_\t_\t_\t4\tobl\t_\tSpaceAfter=No
9\t"\t_\t_\t_\t_\t8\tpunct\t_\tSpaceAfter=No
10\t.\t_\t_\t_\t_\t4\tpunct\t_\t_

1-2\tdu\t_\t_\t_\t_\t_\t_\t_\t_
1\tde\t_\t_\t_\t_\t3\tcase\t_\t_
2\tle\t_\t_\t_\t_\t3\tdet\t_\t_
3\tpain\t_\t_\t_\t_\t0\troot\t_\tSpaceAfter=No

1\tNo\t_\t_\t_\t_\t_\t_\t_\t_
2\theads\t_\t_\t_\t_\t_\t_\t_\t_
"""


def test_conllu_words_heads_and_text(tmp_path: Path) -> None:
    one, two, three = sentences(written(tmp_path, "a.conllu", CONLLU))
    assert one.text == 'I don\'t go  to the "cinéma".'  # as written, two blanks and all
    assert words_of(one) == ["I", "do", "n't", "go", "to", "the", '"', "cinéma", '"', "."]
    assert one.heads == (3, 3, 3, -1, 7, 7, 7, 3, 7, 3)
    assert one.relations is not None
    assert one.relations[3] == "root"
    assert (two.text, words_of(two)) == ("du pain", ["du", "pain"])  # de + le are not in the text
    assert two.heads == (1, -1)
    assert two.relations == ("case", "root")
    assert (three.text, three.heads, three.relations) == ("No heads", None, None)
    assert [each.place for each in (one, two, three)] == ["a.conllu:1", "a.conllu:16", "a.conllu:21"]
    assert one.inputs == Words(one.text, one.spans or ())


def row(*cells: str) -> str:
    return "\t".join(cells)


@pytest.mark.parametrize(
    ("block", "line", "problem"),
    [
        ("1 One", 3, "expected 10 columns separated by tabs, found 1"),
        (row("1", "One", *"______", "_"), 3, "found 9"),
        (row("1", "One", "_", "_", "_", "_", "x", "root", "_", "_"), 3, "no CoNLL-U sentence"),
        (
            row("1", "One", "_", "_", "_", "_", "4", "dep", "_", "_"),
            3,
            "its head is 4, and the sentence",
        ),
        (row("1", "One", "_", "_", "_", "_", "1", "dep", "_", "_"), 3, "has 0 roots"),
        (row("2", "One", "_", "_", "_", "_", "0", "root", "_", "_"), 3, "ids of the words are not 1, 2, 3"),
        (
            "\n".join(
                row(str(n), "w", "_", "_", "_", "_", str(head), "dep", "_", "_")
                for n, head in ((1, 0), (2, 3), (3, 2))
            ),
            4,
            "its heads lead in a circle",
        ),
        (
            "\n".join(
                row(str(n), "w", "_", "_", "_", "_", head, "dep", "_", "_")
                for n, head in ((1, "0"), (2, "_"))
            ),
            4,
            "HEAD is missing here",
        ),
        (row("1-2", "don't", *"________"), 3, "has no lines for all of its words"),
        (
            f"{row('1', 'Hi', *'____', '0', *'___')}\n{row('2', ' ', *'____', '1', *'___')}",
            4,
            "word is blank",
        ),
        (row("1", "", "_", "_", "_", "_", "0", "root", "_", "_"), 3, "the word is blank: ''"),
        (row("1", "\u00a0", "_", "_", "_", "_", "0", "root", "_", "_"), 3, "the word is blank"),
    ],
)
def test_a_malformed_block_is_named_and_reading_goes_on(
    tmp_path: Path, block: str, line: int, problem: str
) -> None:
    good = row("1", "Good", "_", "_", "_", "_", "0", "root", "_", "_")
    source = written(tmp_path, "a.conllu", f"{good}\n\n{block}\n\n{good}\n")
    first, bad, last = read(source)
    assert isinstance(first, Sentence)
    assert isinstance(last, Sentence)
    assert isinstance(bad, BadLine)
    assert (bad.number, bad.place) == (1, f"a.conllu:{line}")
    assert problem in bad.problem
    assert last.number == 2


def test_comments_by_themselves_are_no_sentences(tmp_path: Path) -> None:
    cat = f"# text = Cat\n{row('1', 'Cat', *'____', '0', 'root', '_', '_')}\n"
    for content in (f"# one\n\n{cat}", f"# one\n\n# two\n# three\n\n{cat}\n# four\n\n{cat}\n\n# five"):
        found = sentences(written(tmp_path, "a.conllu", content))
        assert [one.text for one in found] == ["Cat"] * content.count("= Cat")
        assert [one.number for one in found] == list(range(len(found)))


def test_text_that_does_not_fit_the_words_is_rebuilt(tmp_path: Path) -> None:
    block = "# text = Something else.\n" + row("1", "Good", "_", "_", "_", "_", "0", "root", "_", "_")
    (one,) = sentences(written(tmp_path, "a.conllu", block))
    assert (one.text, words_of(one)) == ("Good", ["Good"])


def test_treebank_text(tmp_path: Path) -> None:
    text = "They 2-nsubj\nbuy 0-root\n-LRB- 2-punct\n`` 2-punct\n1\\/2 2-dobj\n\nSo 0-root\nfar 1-x-y\n"
    one, two = sentences(written(tmp_path, "a.ptb", text))
    assert one.text == 'They buy ( " 1/2'
    assert one.heads == (1, -1, 1, 1, 1)
    assert one.relations == ("nsubj", "root", "punct", "punct", "dobj")
    assert (two.relations, two.place) == (("root", "x-y"), "a.ptb:7")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("buy", "expected `word head-relation`, e.g. `buy 0-root`; found 'buy'"),
        ("buy x-root", "expected `word head-relation`"),
        ("buy 0-root extra", "expected `word head-relation`"),
        ("buy 7-root", "its head is 7, and the sentence has 1 words"),
    ],
)
def test_malformed_treebank_text(tmp_path: Path, line: str, problem: str) -> None:
    first, bad = read(written(tmp_path, "a.txt", f"So 0-root\n\n{line}\n"), format="ptb")
    assert isinstance(first, Sentence)
    assert isinstance(bad, BadLine)
    assert bad.place == "a.txt:3"
    assert problem in bad.problem
