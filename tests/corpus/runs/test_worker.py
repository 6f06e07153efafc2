"""What a worker computes: the numbers, sentences that are left out, twins."""

from dataclasses import replace
from pathlib import Path

import pytest

from ligflow import Explainer
from ligflow.corpus.runs.runner import run
from ligflow.corpus.runs.store import Run, open_run
from ligflow.corpus.runs.twins import Twin
from ligflow.corpus.runs.worker import Model
from ligflow.names import TWINS
from small_runs import SMALL, TEXTS, corpus, equal, tables

pytestmark = pytest.mark.usefixtures("no_shape_checks")


def test_the_numbers_are_those_of_one_sentence_alone(whole: Run, small: Model) -> None:
    explainer = Explainer.from_pretrained(small.name)
    settings = {"att_baseline": "itb", "mlp_baseline": "att_itb_a0", "layer_baseline": "itb"}
    one = explainer.explain(TEXTS[3], layers=0, **settings)
    gap = (one.composed()[0] - one.z2z[0]).norm(dim=-1)
    frame = tables(whole)["metrics"].to_pandas()
    rows = frame[
        (frame.sentence == 3) & (frame.direct == "itb") & (frame["map"] == "composed") & (frame.att == "itb")
        & (frame.mlp == "att_itb_a0") & (frame.rule == "conserving") & frame.diagonal
    ]  # fmt: skip
    assert rows["l2"].tolist() == pytest.approx(gap.tolist(), rel=1e-2)


def test_sentences_that_cannot_be_explained_are_listed(tmp_path: Path, small: Model) -> None:
    texts = ("The cat slept.", "word " * 600, "\u200b", "Rain fell.")
    found = tables(run(tmp_path, corpus(texts), small, SMALL))
    reasons = found["sentences"]["left_out"].to_pylist()
    assert reasons[0] is reasons[3] is None
    assert "602 tokens, and the model takes 512" in reasons[1]
    assert found["sentences"]["tokens"].to_pylist()[1] is None
    assert set(found["metrics"]["sentence"].to_pylist()) >= {0, 3}
    assert 1 not in set(found["metrics"]["sentence"].to_pylist())
    assert open_run(tmp_path).left_out(0) == sum(reason is not None for reason in reasons)


def test_a_corpus_of_which_nothing_can_be_explained(tmp_path: Path, small: Model) -> None:
    found = tables(run(tmp_path, corpus(("word " * 600,)), small, SMALL))
    assert found["metrics"].num_rows == found["cells"].num_rows == 0
    assert found["sentences"].num_rows == 1


@pytest.mark.parametrize("kind", TWINS.values())
def test_a_twin_has_the_same_sentences_and_other_weights(tmp_path: Path, kind: str, small: Model) -> None:
    found = run(tmp_path, corpus(TEXTS[:2]), small, SMALL, twins=[Twin(kind, 1)])
    (twin,) = found.twins[kind]
    assert not twin.missing
    ours, theirs = found.manifest, twin.manifest
    assert theirs["model"]["weights"] == f"{kind}, seed 1"
    assert ours["model"]["fingerprint"] != theirs["model"]["fingerprint"]
    assert ours["corpus"]["fingerprint"] == theirs["corpus"]["fingerprint"]
    assert ours["settings"] == theirs["settings"]
    again = run(tmp_path, corpus(TEXTS[:2]), small, SMALL, twins=[Twin(kind, 1)]).twins[kind]
    assert equal(twin, again[0])


def test_twins_can_be_added_to_a_run_and_are_the_same_anywhere(tmp_path: Path, small: Model) -> None:
    one = run(tmp_path / "one", corpus(TEXTS[:2]), small, SMALL)
    assert one.twins == {}
    seeds = [Twin("permuted weights", seed) for seed in (10, 9)]
    one = run(tmp_path / "one", corpus(TEXTS[:2]), small, SMALL, twins=seeds)
    two = run(tmp_path / "two", corpus(TEXTS[:2]), replace(small, twin=seeds[1]), SMALL)
    ninth, tenth = one.twins["permuted weights"]
    assert equal(ninth, two)
    assert not equal(ninth, tenth)
    assert tenth.folder == tmp_path / "one" / "twins" / "permuted-10"
