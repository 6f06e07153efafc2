"""Distances of rows of maps, by hand."""

import torch

from ligflow.corpus.analysis.row_distances import row_distances, signed_shares


def test_distances_by_hand() -> None:
    a = torch.tensor([[2.0, 2.0], [1.0, -3.0], [0.0, 0.0], [0.0, 0.0]])
    b = torch.tensor([[1.0, 3.0], [2.0, -6.0], [1.0, 0.0], [0.0, 0.0]])
    torch.testing.assert_close(signed_shares(a)[1], torch.tensor([0.25, -0.75], dtype=torch.float64))
    torch.testing.assert_close(row_distances(a, b), torch.tensor([0.25, 0, 1, 0], dtype=torch.float64))
