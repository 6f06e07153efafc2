"""What a prediction holds: sums, scales, certificates, and an error for edges that are not stored."""

from dataclasses import replace

import pytest
import torch

from hand_made_prediction import prediction_of
from ligflow import LigflowError


def test_relevance_sums_to_the_change_at_every_cut() -> None:
    prediction = prediction_of(change=8.0)
    assert prediction.change == 8.0
    assert prediction.by_depth.sum(-1).tolist() == pytest.approx([8.0] * 5)
    assert prediction.relevance.equal(prediction.by_depth[0])


def test_the_certificate_is_what_the_sum_misses_over_the_scale() -> None:
    prediction = prediction_of(change=8.0)
    shifted = prediction.by_depth.clone()
    shifted[0] = torch.tensor([0.0, 10.0, -4.0, 3.0, 0.0, 0.0])
    prediction = replace(prediction, by_depth=shifted)
    assert prediction.scale == 17.0
    assert prediction.certificate == pytest.approx(1 / 17)


def test_segments_that_miss_their_allowance_are_named() -> None:
    assert prediction_of().unmet == []
    assert [segment.name for segment in prediction_of(unmet=True).unmet] == ["the head"]


def test_edges_are_those_that_are_stored() -> None:
    prediction = prediction_of(edges=[1])
    torch.testing.assert_close(prediction.edges(1).sum(-1).double(), prediction.heads[1])
    with pytest.raises(LigflowError, match=r"No edges of layer 0 are stored \(stored: 1\).*edges=\[0\]"):
        prediction.edges(0)


def test_edges_in_parts_are_those_that_were_asked_for() -> None:
    prediction = prediction_of(edges=[1, 2], parts=[1])
    parts = prediction.edges(1, parts=True)
    whole = prediction.edges(1)
    torch.testing.assert_close(parts.value, whole * 0.5)
    torch.testing.assert_close(parts.key, whole * 0.3)
    torch.testing.assert_close(parts.query, whole * 0.2)
    assert prediction.parts[1].shape == (3, *whole.shape)
    told = r"No parts of edges of layer 2 are stored \(stored: 1\).*edges=\[2\], parts=True\)"
    with pytest.raises(LigflowError, match=told):
        prediction.edges(2, parts=True)
