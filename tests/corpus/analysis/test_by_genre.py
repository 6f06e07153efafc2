"""Genres apart."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from favoured_pairs import GOOD, favouring
from ligflow.corpus.analysis.by_genre import by_genre
from ligflow.corpus.analysis.estimates import estimate, genres
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


def test_documents_are_drawn_whole(tmp_path: Path) -> None:
    """Four documents of three sentences that are alike: a mean is as unsure as four values are."""

    def alike(row: Row) -> None:
        row["l2"] = float(row["sentence"] // 3)

    def of_document(sentence: Sentence) -> Sentence:
        return replace(sentence, document=f"document {sentence.number // 3}")

    apart = estimate(run_by_hand(tmp_path / "apart", change=alike, layers=(0,)), draws=400)
    whole = estimate(run_by_hand(tmp_path / "whole", change=alike, layers=(0,), about=of_document), draws=400)
    assert (apart.clusters, whole.clusters) == (10, 3)  # of unequal sizes: 2 and 3 targets a sentence
    spread = [float(np.nanstd(of.draws[1:, 0, 0, -1, 0, 0, 0])) for of in (apart, whole)]
    assert spread[1] / spread[0] == pytest.approx(3**0.5, rel=0.2)
    assert whole.mean == pytest.approx(apart.mean)


def test_sentences_of_one_document_are_drawn_one_by_one(tmp_path: Path) -> None:
    """One document cannot tell how documents differ; nor can it in a genre of which there is one alone."""

    def in_one(sentence: Sentence) -> Sentence:
        return replace(sentence, document="one", genre="news" if sentence.number < 6 else "letters")

    def in_two(sentence: Sentence) -> Sentence:
        return replace(in_one(sentence), document="first" if sentence.number < 6 else "second")

    apart, alone, two = (
        run_by_hand(tmp_path / name, layers=(0,), about=about)
        for name, about in (("apart", replace), ("alone", in_one), ("two", in_two))
    )
    whole, single = (estimate(run, draws=100) for run in (apart, alone))
    assert whole.clusters == single.clusters
    assert np.array_equal(whole.draws, single.draws, equal_nan=True)
    assert estimate(two, draws=100).clusters == 2
    assert estimate(two, draws=100, genre="news").clusters > 2
