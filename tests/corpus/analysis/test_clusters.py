"""What a bootstrap draws: documents, or sentences."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ligflow.corpus.analysis.estimates import estimate
from ligflow.corpus.sources.sentence import Sentence
from runs_by_hand import Row, run_by_hand

pytestmark = pytest.mark.usefixtures("no_shape_checks")


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
