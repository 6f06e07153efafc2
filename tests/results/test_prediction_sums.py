"""Means over references and totals over an answer: relevance, errors, what is kept and what is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from hand_made_prediction import prediction_of
from ligflow import LigflowError, Prediction
from ligflow.results.prediction_sums import total


def test_relevance_is_the_mean_and_errors_add_as_squares() -> None:
    parts = [
        prediction_of(seed=seed, change=change, edges=[1], parts=[1]) for seed, change in ((0, 8.0), (1, 5.0))
    ]
    mean = Prediction.mean(parts)
    values = [part.by_depth.numpy() for part in parts]
    np.testing.assert_allclose(mean.by_depth, (values[0] + values[1]) / 2)
    errors = np.stack([part.error.numpy() for part in parts])
    np.testing.assert_allclose(mean.error, np.sqrt((errors**2).sum(0)) / 2)
    assert (mean.value, mean.reference_value, mean.change) == (-0.5, -7.0, 6.5)
    assert float(mean.relevance.sum()) == pytest.approx(6.5)
    np.testing.assert_allclose(mean.heads[2], (parts[0].heads[2] + parts[1].heads[2]) / 2)
    np.testing.assert_allclose(mean.edges(1), (parts[0].edges(1) + parts[1].edges(1)) / 2)
    np.testing.assert_allclose(mean.parts[1], (parts[0].parts[1] + parts[1].parts[1]) / 2)
    assert mean.meta["totals"] == [8.0, 5.0]
    spread = np.std([value[0] for value in values], axis=0, ddof=1)
    np.testing.assert_allclose(mean.meta["relevance_sd"], spread)
    assert mean.reference_top == ((",", 0.05), (",", 0.05))
    assert [segment.name for segment in mean.certificates[9:11]] == [
        "the head, reference 1", "layer 0: attention, reference 2",
    ]  # fmt: skip


def test_a_part_that_a_reference_lacks_counts_as_0_and_kept_is_what_all_keep() -> None:
    first, second = prediction_of(kept=(0, 2)), prediction_of(kept=(0, 3))
    second = replace(second, routing={1: torch.ones(6)})
    mean = Prediction.mean([first, second])
    assert mean.kept == (True, *[False] * 5)
    assert mean.routing[1].tolist() == [0.5] * 6


def test_a_mean_is_saved_and_that_of_one_is_itself(tmp_path: Path) -> None:
    first = prediction_of()
    alone = Prediction.mean([first])
    assert alone.by_depth.equal(first.by_depth)
    assert alone.meta["totals"] == [8.0]
    both = Prediction.mean([first, prediction_of(seed=1)])
    assert Prediction.load(both.save(tmp_path / "mean.safetensors")).meta == both.meta


def test_other_inputs_and_scores_have_no_mean() -> None:
    first = prediction_of()
    with pytest.raises(LigflowError, match="at least one"):
        Prediction.mean([])
    with pytest.raises(LigflowError, match="other tokens"):
        Prediction.mean([first, prediction_of(["a", "b", "c", "d", "e", "f"])])
    held = {**first.meta, "settings": {**first.meta["settings"], "attention": "held"}}
    with pytest.raises(LigflowError, match="attention 'moved' and 'held'; take the mean of those that are"):
        Prediction.mean([first, replace(first, meta=held)])
    with pytest.raises(LigflowError, match="other scores"):
        Prediction.mean([first, replace(first, value=1.0)])


def test_a_total_adds_relevance_scores_and_errors_of_an_answers_tokens() -> None:
    first, second = (prediction_of(seed=seed, change=change) for seed, change in ((0, 8.0), (1, -5.0)))
    second = replace(second, meta={**second.meta, "question": " is", "notes": ["a note"]})
    whole = total([first, second])
    np.testing.assert_allclose(whole.by_depth, first.by_depth.numpy() + second.by_depth.numpy())
    np.testing.assert_allclose(whole.mlps[2], first.mlps[2].numpy() + second.mlps[2].numpy())
    np.testing.assert_allclose(whole.error, first.error.numpy() + second.error.numpy())  # not as squares
    assert (whole.value, whole.reference_value) == (-1.0, -4.0)  # -0.5 - 0.5; -8.5 + 4.5
    assert whole.change == pytest.approx(3.0) == float(whole.relevance.sum())
    assert (whole.meta["question"], whole.meta["notes"]) == (" Paris is", ["a note"])
    assert [segment.name for segment in whole.certificates[8:11]] == [
        "layer 2: MLP, ‘ Paris’", "the head, ‘ Paris’", "layer 0: attention, ‘ is’",
    ]  # fmt: skip
    with pytest.raises(LigflowError, match="total of predictions needs at least one"):
        total([])
    with pytest.raises(LigflowError, match="other cuts; take the total"):
        total([first, prediction_of(layers=2)])
