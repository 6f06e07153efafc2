"""A sentence as a row of a table, and back."""

import pyarrow as pa
import pytest

from ligflow.corpus.sources.sentence import Sentence
from ligflow.corpus.tables.schema import CORPUS
from ligflow.corpus.tables.sentence_rows import row_of, sentence_of


@pytest.mark.parametrize(
    "sentence",
    [
        Sentence(3, "Rain fell.", "a:4"),
        Sentence(0, "Rain fell.", "a:1", ((0, 4), (5, 9), (9, 10))),
        Sentence(1, "Rain fell", "a:1", ((0, 4), (5, 9)), (1, -1), ("nsubj", "root")),
        Sentence(2, "", "a:1", (), (), ()),
        Sentence(4, "Rain fell.", "a:9", document="weblog-a", genre="weblog"),
    ],
)
def test_there_and_back(sentence: Sentence) -> None:
    (row,) = pa.Table.from_pylist([row_of(sentence)], schema=CORPUS).to_pylist()
    assert sentence_of(row) == sentence
    if sentence.spans:
        assert row["spans"][:4] == [0, 4, 5, 9]
