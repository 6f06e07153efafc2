"""Whose edges are kept: the layers that are named, all, or those of the strongest heads."""

import pytest
import torch

from ligflow import LigflowError
from ligflow.prediction.kept_edges import check_layers, layers_with_edges


def test_layers_are_named_all_or_those_of_the_strongest_heads() -> None:
    heads = {layer: torch.tensor([[float(layer), -1.5], [0.0, 0.5]]) for layer in range(6)}
    assert layers_with_edges(heads, (-1, 0, 5), 6) == (5, 0)
    assert layers_with_edges(heads, "all", 6) == (0, 1, 2, 3, 4, 5)
    assert layers_with_edges(heads, "strongest", 6) == (2, 3, 4, 5)  # of 5 cells, two in layer 5
    assert layers_with_edges(heads, (), 6) == ()


def test_layers_that_there_are_not_are_refused() -> None:
    check_layers("all", 6)
    with pytest.raises(LigflowError, match="no layer 6; the model has layers 0 to 5"):
        check_layers((0, 6), 6)
