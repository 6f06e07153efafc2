"""Edges in parts: three tensors by their names."""

import torch

from ligflow.method.attention_parts import PARTS
from ligflow.results.edge_parts import EdgeParts


def test_parts_are_in_the_order_of_their_names() -> None:
    parts = EdgeParts.of(torch.arange(24.0).reshape(3, 2, 2, 2))
    assert tuple(vars(parts)) == PARTS
    assert [float(part[0, 0, 0]) for part in vars(parts).values()] == [0.0, 8.0, 16.0]
