"""Paths of relevance: against all ways by brute force, and what they say."""

from dataclasses import replace
from itertools import product

import pytest
import torch

from hand_made_prediction import CAPITAL, prediction_of
from ligflow import LigflowError
from ligflow.results.prediction_paths import carried, own


def test_what_arrives_after_a_layer_is_what_was_before_it() -> None:
    prediction = prediction_of(edges=range(3))
    for layer in range(3):
        flow = carried(prediction, layer)
        torch.testing.assert_close(flow.sum(1), prediction.by_depth[layer + 2], atol=1e-6, rtol=0)
        torch.testing.assert_close(flow.sum(0), prediction.by_depth[layer + 1], atol=1e-6, rtol=0)
        torch.testing.assert_close(own(prediction, layer), prediction.residual[layer])


def test_the_strongest_paths_are_those_of_all_ways() -> None:
    prediction = prediction_of(edges=range(3), seed=3)
    steps = [carried(prediction, layer) for layer in (2, 1, 0)]
    shares = [step / step.abs().sum(1, keepdim=True).clamp(min=1e-300) for step in steps]
    start = prediction.by_depth[-1] / prediction.change
    ways = {
        (j, k, m, n): float(start[j] * shares[0][j, k] * shares[1][k, m] * shares[2][m, n])
        for j, k, m, n in product(range(6), repeat=4)
    }  # fmt: skip
    wanted = sorted(ways, key=lambda way: -abs(ways[way]))[:7]
    paths = prediction.paths(7)
    assert [(p.steps[0].target, *(step.source for step in p.steps)) for p in paths] == wanted
    assert [path.weight for path in paths] == pytest.approx([ways[way] for way in wanted])
    assert [step.layer for step in paths[0].steps] == [2, 1, 0]


def test_a_path_is_a_share_of_the_change_where_tokens_speak_against_each_other() -> None:
    """Two tokens with +6 and -2 of a change of 4 before a last layer that nothing moves in."""
    cuts = torch.tensor([[6.0, -2.0]] * 3).double()
    plain = prediction_of(
        ["a", "b"], layers=1, kept=(), change=4.0, by_depth=cuts, heads={0: torch.zeros(1, 2).double()},
        stored_edges={0: torch.zeros(1, 2, 2)}, edges=[0],
    )  # fmt: skip
    assert [path.weight for path in plain.paths(2)] == pytest.approx([1.5, 0.5])  # -2 of 4, carried as -1


def test_heads_of_both_attentions_are_taken_from_what_a_token_carries_itself() -> None:
    prediction = prediction_of(cross_heads={1: torch.full((2, 6), 0.25)})
    wanted = prediction.by_depth[3] - prediction.heads[1].sum(0) - 0.5
    torch.testing.assert_close(own(prediction, 1), wanted)


def test_a_path_names_the_heads_it_goes_through() -> None:
    prediction = prediction_of(CAPITAL, layers=1, head_count=3, edges=[0])
    edges = torch.zeros(3, 6, 6, dtype=torch.float64)
    edges[1, 5, 4], edges[0, 5, 4], edges[2, 5, 1] = 5.0, 1.0, -1.5
    heads = {0: edges.sum(-1)}
    prediction = prediction_of(CAPITAL, layers=1, edges=[0], stored_edges={0: edges}, heads=heads)
    first, second, third = prediction.paths(5)
    assert str(first) == "+54.5%  ‘is’ ← layer 0, head 1 ← ‘France’"  # 6 of 6 + 1.5 + 3.5
    assert str(second) == "+31.8%  ‘is’"
    assert str(third) == "-13.6%  ‘is’ ← layer 0, head 2 ← ‘The’"


def test_a_path_says_what_was_read_found_and_asked_where_that_is_stored() -> None:
    edges = torch.zeros(1, 6, 6, dtype=torch.float64)
    edges[0, 5, 4] = 5.0
    split = torch.stack([edges * 0.6, edges * 0.5, edges * -0.1])
    plain = prediction_of(CAPITAL, layers=1, stored_edges={0: edges}, heads={0: edges.sum(-1)})
    prediction = replace(plain, parts={0: split})
    said = [path.words for path in prediction.paths(2)]
    assert "‘is’ ← layer 0, head 0 (value +3, key +2.5, query -0.5) ← ‘France’" in said


def test_paths_need_edges_of_layers_in_a_row() -> None:
    with pytest.raises(LigflowError, match=r"No edges are stored.*edges=range\(layers\)"):
        prediction_of().paths(3)
    with pytest.raises(LigflowError, match=r"layers 0, 2.*edges=range\(0, 3\)\); layer 1 lacks"):
        prediction_of(edges=[0, 2]).paths(3)
    with pytest.raises(LigflowError, match="0 paths were asked for"):
        prediction_of(edges=[0]).paths(0)
