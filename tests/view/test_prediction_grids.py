"""Grids of a prediction: rows sum to the change, the rest is added up, what is not there is not 0."""

import numpy as np
import pytest
import torch

from hand_made_prediction import prediction_of
from ligflow.view.prediction_grids import by_depth, by_head


def test_depths_go_from_the_answer_down_to_the_input() -> None:
    prediction = prediction_of()
    grid = by_depth(prediction)
    assert grid.rows == ["answer", "before layer 2", "before layer 1", "before layer 0", "input"]
    assert grid.columns == ["<|endoftext|>", "The", "capital", "of", "France", "is"]
    wanted = prediction.by_depth.clone()
    wanted[0, 0] = torch.nan  # kept
    np.testing.assert_array_equal(grid.values, wanted.numpy()[::-1])
    assert grid.scale == prediction.scale


def test_of_many_tokens_the_strongest_are_shown_and_the_others_added_up() -> None:
    prediction = prediction_of()
    grid = by_depth(prediction, most_columns=4)
    strongest = prediction.by_depth.abs().amax(0).topk(3).indices.sort().values
    assert grid.columns == [*(prediction.tokens[at].strip() for at in strongest.tolist()), "3 others"]
    assert grid.values.nansum(-1).tolist() == pytest.approx([8.0] * 5)
    assert grid.note == " The 3 strongest tokens have a column; 3 others share the last."


def test_heads_and_mlps_are_summed_over_tokens_and_what_lacks_is_nan() -> None:
    prediction = prediction_of()
    heads, mlps = {0: prediction.heads[0], 2: prediction.heads[2]}, {1: prediction.mlps[1]}
    cross = {2: torch.ones(1, 6)}
    grid = by_head(prediction_of(heads=heads, mlps=mlps, cross_heads=cross))
    assert (grid.rows, grid.columns) == (["layer 2", "layer 1", "layer 0"], ["h0", "h1", "2nd h0", "MLP"])
    nan = float("nan")
    first, last = prediction.heads[2].sum(-1).tolist(), prediction.heads[0].sum(-1).tolist()
    wanted = [[*first, 6.0, nan], [nan, nan, nan, float(mlps[1].sum())], [*last, nan, nan]]
    np.testing.assert_allclose(grid.values, wanted)
    assert grid.most == np.nanmax(np.abs(wanted))


def test_without_parts_there_is_an_empty_grid() -> None:
    grid = by_head(prediction_of(heads={}, mlps={}))
    assert (grid.rows, grid.columns, grid.values.numel()) == ([], [], 0)
