"""Head profiles of a run: words, neighbours, labels, and what has none."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from browser import flow_of
from ligflow import LigflowError
from ligflow.corpus.analysis.head_profiles import MEASURES, labels, measured, profiles, profiles_of
from ligflow.corpus.runs.runner import run
from ligflow.corpus.runs.store import Run
from ligflow.corpus.sources.corpus import Corpus
from ligflow.corpus.sources.sentence import Sentence
from ligflow.corpus.tables.experiment import Experiment
from one_head import ABOUT, SENTENCE, TOKENS

pytestmark = pytest.mark.usefixtures("no_shape_checks")


def test_sentences_without_heads_have_no_syntactic_measures() -> None:
    made = flow_of(TOKENS, layers=1, heads=1, **ABOUT)
    found = measured(made, Sentence(0, "the lighthouse.", "x"))
    for measure in ("head", "dependent"):
        assert np.isnan(found[:, :, MEASURES.index(measure)]).all()
    assert np.isfinite(found[:, :, MEASURES.index("previous")]).any()


def test_a_source_is_seen_if_any_head_of_any_layer_reads_it() -> None:
    made = flow_of(TOKENS, layers=2, heads=2, **ABOUT)
    z2u = torch.eye(6).expand(2, 2, 6, 6).clone().double()
    z2u[1, 1] = torch.ones(6, 6).tril()
    found = measured(replace(made, tensors={**made.tensors, "z2u": z2u}), SENTENCE)
    known = 1 - 1 / np.arange(1.0, 7)
    for layer, head in ((0, 0), (0, 1), (1, 0)):
        assert found[layer, head, MEASURES.index("self over chance")] == pytest.approx(known)
    assert found[1, 1, MEASURES.index("self over chance")] == pytest.approx(np.zeros(6), abs=1e-12)


def test_profiles_of_a_run(kept: Run) -> None:
    found = profiles(kept, draws=200)
    assert len(found) == 2 * 12 * len(MEASURES)
    by_key = {(one.layer, one.head, one.measure): one for one in found}
    previous = by_key[0, 2, "previous"]  # a head of MiniLM that reads the token before
    assert previous.mean > 0.8
    assert previous.low <= previous.mean <= previous.high
    assert by_key[0, 2, "self"].mean == pytest.approx(0, abs=1e-6)  # itb
    assert labels(found)[0, 2] == "previous"
    zero = {(one.layer, one.head, one.measure): one for one in profiles(kept, "zero", draws=200)}
    assert zero[0, 2, "self"].mean > 0.01


def test_sentences_of_one_document_are_drawn_together() -> None:
    """Documents that are all alike leave a mean sure, though their sentences differ."""
    made = flow_of(TOKENS, layers=1, heads=1, **ABOUT)
    kinds = [(1 + more * torch.eye(6).roll(-1, 1))[None, None].double() for more in (0, 5)]
    read = [
        (replace(SENTENCE, number=number), replace(made, tensors={**made.tensors, "z2u": kinds[number % 2]}))
        for number in range(12)
    ]
    place = MEASURES.index("previous")
    apart = profiles_of(read, draws=200)[place]
    whole = profiles_of(read, draws=200, clusters={number: number // 2 for number in range(12)})[place]
    assert apart.low < apart.mean == whole.mean < apart.high
    assert whole.low == pytest.approx(whole.high) == pytest.approx(whole.mean)


def test_runs_without_maps_or_sentences(tmp_path: Path) -> None:
    one = Corpus(lambda: iter([Sentence(0, "Rain fell.", "a")]), {})
    with pytest.raises(LigflowError, match="kept no maps; run it with --maps"):
        profiles(run(tmp_path / "bare", one, experiment=Experiment(layers=(0,))))
    long = Corpus(lambda: iter([Sentence(0, "word " * 600, "a")]), {})
    with pytest.raises(LigflowError, match="so no head has a profile"):
        profiles(run(tmp_path / "long", long, experiment=Experiment(layers=(0,), maps=True)))
