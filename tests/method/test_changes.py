import torch
from torch import Tensor

from ligflow.method.changes import narrowed, stretches_of_change


def test_all_changes_of_all_places_are_closed_in_on() -> None:
    """Thresholds of two places; two of them fall into the same first stretch."""
    edges = [[0.1, 0.33, 0.3301], [0.71]]

    def choose(places: Tensor, nodes: Tensor) -> Tensor:
        passed = [[sum(node > edge for edge in edges[place]) for node in row] for place, row in zip(
            places.tolist(), nodes.tolist(), strict=True)]  # fmt: skip
        return torch.tensor(passed)[..., None]

    points = torch.linspace(0, 1, 9, dtype=torch.float64)
    places, stretches = stretches_of_change(points, choose(torch.tensor([0, 1]), points.expand(2, -1)))
    assert places.tolist() == [0, 0, 1]
    places, stretches = narrowed(choose, places, stretches, 8)
    assert places.tolist() == [0, 0, 0, 1]
    expected = torch.tensor([*edges[0], *edges[1]], dtype=torch.float64)
    assert (stretches[:, 0] <= expected).all()
    assert (stretches[:, 1] >= expected).all()
    assert float((stretches[:, 1] - stretches[:, 0]).max()) < 1e-10


def test_a_choice_that_does_not_change_has_no_stretch() -> None:
    points = torch.linspace(0, 1, 5)
    places, stretches = stretches_of_change(points, torch.ones(3, 5, 2, dtype=torch.long))
    assert places.shape == (0,)
    assert stretches.shape == (0, 2)
