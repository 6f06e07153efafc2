"""Genres apart."""

from dataclasses import replace
from pathlib import Path

import pytest

from favoured_pairs import GOOD, favouring
from ligflow.corpus.analysis.by_genre import by_genre
from ligflow.corpus.analysis.clusters import genres
from ligflow.corpus.analysis.estimates import estimate
from ligflow.corpus.sources.sentence import Sentence
from ligflow.corpus.tables.schema import DIRECT
from ligflow.evaluation.consistency import METRICS
from runs_by_hand import Row, run_by_hand

pytestmark = pytest.mark.usefixtures("no_shape_checks")


def of_kinds(sentence: Sentence) -> Sentence:
    """Every third sentence is news, the others are letters."""
    return replace(sentence, genre="letters" if sentence.number % 3 else "news")


def change(row: Row) -> None:
    """In news another pair is best than in letters."""
    pair = ("mean", "matched", "product") if row["sentence"] % 3 == 0 else ("itb", "zero", "conserving")
    favouring(*pair)(row)


def test_each_genre_has_its_best_pair(tmp_path: Path) -> None:
    found = run_by_hand(tmp_path, about=of_kinds, change=change, left_out={3: "too long"})
    assert genres(found) == ("letters", "news")
    rows = by_genre(found, draws=100)
    assert len(rows) == 2 * 2 * len(DIRECT) * len(METRICS)
    assert {(row.genre, row.sentences, row.att, row.mlp, row.rule) for row in rows} == {
        ("news", 3, "mean", "matched", "product"), ("letters", 8, "itb", "zero", "conserving"),
    }  # fmt: skip
    for row in rows:
        assert row.mean == pytest.approx(GOOD[row.metric])
    whole = estimate(found, draws=100)
    assert whole.sentences == 11


def test_a_corpus_of_one_genre_or_none_has_no_table(tmp_path: Path) -> None:
    assert by_genre(run_by_hand(tmp_path / "none"), draws=100) == []
    one = run_by_hand(tmp_path / "one", about=lambda sentence: replace(sentence, genre="news"))
    assert by_genre(one, draws=100) == []
