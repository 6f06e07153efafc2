"""What an explanation says besides its numbers: certificates of its own row, notes, and warnings."""

import warnings
from dataclasses import replace

import pytest
import torch

from asked_models import gpt2
from hand_made_prediction import prediction_of
from ligflow import CompletenessWarning, Explainer
from ligflow.prediction.assembly import warn_unmet
from ligflow.prediction.explain_answer import explain_answer
from prediction.oracle_families import FAMILIES


def test_each_row_of_an_answer_has_its_own_certificates() -> None:
    """The first segment's sum over tokens is what the input's relevance sums to less the next cut's."""
    rows = explain_answer(gpt2(), "The capital of France is", " Paris.", points=3, tol=0.9).rows
    for row in rows:
        head = row.certificates[-1]
        assert head.name == "the head"
        assert head.residue == pytest.approx(float(row.by_depth[-1].sum()) - row.change, abs=1e-12)
        assert head.met == (head.error <= head.allowance)
    assert rows[0].certificates[-1].error != rows[1].certificates[-1].error
    assert rows[0].certificates[-1].allowance != rows[1].certificates[-1].allowance
    assert rows[0].top != rows[1].top
    assert rows[0].by_depth[-1].ne(rows[1].by_depth[-1]).any()


def test_points_are_those_of_the_explanation_s_own_row() -> None:
    explainer = Explainer(gpt2().model, gpt2().tokenizer)
    texts = ["The capital of France is", "The river is long The"]
    together = [*explainer.explain_predictions(texts, tol=1e-5)]
    for text, own in zip(texts, together, strict=True):
        alone = explainer.explain_prediction(text, tol=1e-5)
        assert [each.points for each in own.certificates] == [each.points for each in alone.certificates]


@pytest.mark.parametrize(("error", "added", "warns"), [(0.9, 0.0, False), (1.5, 0.0, True), (0.0, 1.5, True)])
def test_an_explanation_warns_where_tokens_or_their_sum_miss_the_tolerance(
    error: float, added: float, warns: bool
) -> None:
    """Errors of 0.9 or 1.5 tolerances in all; a sum that is 1.5 tolerances off, with no error estimated."""
    whole = prediction_of()
    by_depth = whole.by_depth.clone()
    by_depth[0, 1] += added * 1e-3 * whole.scale
    errors = torch.full_like(whole.error, error * 1e-3 * whole.scale / len(whole.error))
    prediction = replace(whole, error=errors, by_depth=by_depth)
    if warns:
        with pytest.warns(
            CompletenessWarning, match=r"more than the tolerance 1.0e-03; most of it comes from"
        ):
            assert warn_unmet(prediction) is prediction
        return
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert warn_unmet(prediction) is prediction


def test_what_goes_through_a_coarser_cut_is_named_and_edges_that_there_are_none_of() -> None:
    family = FAMILIES["deberta"]
    model = family.built()
    reference = family.references(model)[0]
    options = {"answer": 1, "position": family.position, "reference": reference, "points": 3, "tol": 0.9}
    found = Explainer(model).explain_prediction(family.inputs(), edges=[0], **options)
    notes = " | ".join(found.meta["notes"])
    assert "layer 0 goes through a coarser cut (layer)" in notes
    assert "ayer 0 (deberta.encoder.layer.0) has no edges" in notes
    assert not found.stored_edges
