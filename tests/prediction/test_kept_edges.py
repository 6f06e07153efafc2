"""Whose edges are kept: the layers that are named, all, or those of the strongest heads."""

from dataclasses import replace

import pytest
import torch

from ligflow import Explainer, LigflowError
from ligflow.errors import UnsupportedModel
from ligflow.prediction.chain import Accuracy
from ligflow.prediction.graph import graph_of
from ligflow.prediction.kept_edges import (
    check_layers,
    check_room,
    kept_edges,
    layers_with_edges,
    notes_on_edges,
)
from prediction.chain_of_family import chained
from prediction.oracle_families import FAMILIES, encoder_starts
from prediction.tiny import ids, llama, runs_of


def test_layers_are_named_all_or_those_of_the_strongest_heads() -> None:
    heads = {layer: torch.tensor([[float(layer), -1.5], [0.0, 0.5]]) for layer in range(6)}
    assert layers_with_edges(heads, (-1, 0, 5), 6) == (0, 2, 3, 4, 5)  # with those of the strongest heads
    assert layers_with_edges(heads, "all", 6) == (0, 1, 2, 3, 4, 5)
    assert layers_with_edges(heads, "strongest", 6) == (2, 3, 4, 5)  # of 5 cells, two in layer 5
    assert layers_with_edges(heads, (), 6) == ()


def test_edges_that_would_take_much_are_kept_where_their_layers_are_named(monkeypatch) -> None:
    """A head by two tokens takes 32 bytes; those of four layers are 128, and four with a named one 160."""
    heads = {layer: torch.tensor([[float(layer), -1.5]]) for layer in range(6)}
    assert layers_with_edges(heads, "strongest", 6) == (2, 3, 4, 5)
    assert notes_on_edges(heads, "strongest", (2, 3, 4, 5)) == []
    monkeypatch.setattr("ligflow.prediction.kept_edges._UNASKED", 128)
    assert layers_with_edges(heads, "strongest", 6) == (2, 3, 4, 5)
    assert layers_with_edges(heads, [0], 6) == (0,)
    assert layers_with_edges(heads, "all", 6) == (0, 1, 2, 3, 4, 5)
    assert notes_on_edges(heads, [3], (3,)) == [
        "what the strongest heads read (layers 2, 4, 5) is not kept: of 2 tokens it takes 0.1 MB; ask "
        "for it: edges=[2, 4, 5]"
    ]
    assert notes_on_edges(heads, (), ()) == []


def test_edges_that_do_not_fit_into_memory_are_refused_before_the_chain(monkeypatch) -> None:
    """Four heads of a layer by five tokens take 800 bytes, in parts too four times as much."""
    runs, _ = runs_of(llama(), ids(5))
    built = graph_of(runs)
    monkeypatch.setattr("ligflow.prediction.kept_edges.free_on_cpu", lambda: 1600)
    for fits in ("all", [0, 1, -1], [1], (), "strongest"):
        check_room(built, fits, parts=False, count=2)
    with pytest.raises(LigflowError, match=r"of 2 layers read takes .* at 5 tokens.*edges=\(\)"):
        check_room(built, "all", parts=True, count=2)
    monkeypatch.setattr("ligflow.prediction.kept_edges.free_on_cpu", lambda: 1599)
    with pytest.raises(LigflowError, match="ask for fewer layers"):
        Explainer(llama()).explain_prediction({"input_ids": ids(5)}, reference="mean", answer=7, edges="all")


def test_layers_that_there_are_not_are_refused() -> None:
    check_layers("all", 6)
    with pytest.raises(LigflowError, match="no layer 6; the model has layers 0 to 5"):
        check_layers((0, 6), 6)


def test_parts_of_an_attention_that_is_not_seen_are_refused_with_what_is_possible() -> None:
    family = FAMILIES["deberta"]
    chain = chained(family, family.built(), Accuracy(points=1))
    kept = kept_edges(chain.built, chain.result, 0, (0, 1))
    assert not kept.edges
    assert "no edges" in kept.notes[0]
    with pytest.raises(UnsupportedModel, match=r"No layer .*has parts.*no edges: .*Leave parts out"):
        kept_edges(chain.built, chain.result, 0, (0, 1), parts=True)


def test_edges_of_two_attentions_stand_one_after_the_other_among_all_tokens() -> None:
    """The encoder's seven tokens, then the decoder's five, which read both."""
    family = replace(FAMILIES["t5"], starts=encoder_starts)
    chain = chained(family, family.built(), Accuracy(points=7))
    kept = kept_edges(chain.built, chain.result, 0, (0, 3), parts=True, points=7)
    assert not kept.edges[0][:, 7:].any()
    assert not kept.edges[0][:, :, 7:].any()
    own, cross = kept.edges[3].split(4)
    assert own.shape == cross.shape == (4, 12, 12)
    assert not own[:, :, :7].any()
    assert cross[:, 7:, :7].any()
    rest = cross[:, 7:, 7:]
    assert torch.equal(rest, torch.diag_embed(rest.diagonal(0, 1, 2)))  # what the queries do
    queries = kept.parts[3][2, 4:, 7:].sum(-1)
    assert torch.allclose(rest.diagonal(0, 1, 2), queries, atol=1e-12)
