"""The strongest paths against all paths, listed."""

import itertools

import pytest
import torch
from torch import Tensor

from ligflow import LigflowError
from ligflow.results.strongest_paths import strongest


def listed(steps: list[Tensor], start: int) -> list[tuple[tuple[int, ...], float]]:
    """All paths with a product that is not 0, the largest magnitude first."""
    found = []
    for nodes in itertools.product(range(len(steps[0])), repeat=len(steps)):
        path, weight = (start, *nodes), 1.0
        for step, above, below in zip(steps, path, path[1:], strict=False):
            weight *= float(step[above, below].double())
        if weight:
            found.append((path, weight))
    return sorted(found, key=lambda one: (-abs(one[1]), one[0]))


@pytest.mark.parametrize("seed", range(24))
def test_the_strongest_paths_are_those_of_a_list_of_all(seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    nodes, depth = 1 + seed % 4, 1 + seed // 6
    steps = [torch.randn(nodes, nodes, generator=draw) for _ in range(depth)]
    if seed % 3 == 0:
        steps = [step * (torch.rand(nodes, nodes, generator=draw) < 0.6) for step in steps]
    start = seed % nodes
    for sign, fits in {"absolute": 0, "positive": 1, "negative": -1}.items():
        known = [one for one in listed(steps, start) if not fits or one[1] * fits > 0]
        for count in {1, 3, len(known)}:
            if not 0 < count <= len(known):
                continue
            found = strongest(steps, start, count, sign)
            assert [path.nodes for path in found] == [path for path, _ in known[:count]]
            assert [path.weight for path in found] == pytest.approx([weight for _, weight in known[:count]])


def test_more_paths_than_there_are() -> None:
    steps = [torch.tensor([[1.0, 0.0], [0.5, 0.5]]), torch.tensor([[1.0, -1.0], [0.0, 1.0]])]
    assert len(strongest(steps, 0, 2)) == 2
    with pytest.raises(LigflowError, match="3 paths were asked for, and there are 2"):
        strongest(steps, 0, 3)
    with pytest.raises(LigflowError, match="2 negative paths were asked for, and there are 1"):
        strongest(steps, 0, 2, "negative")


@pytest.mark.parametrize(
    ("count", "sign", "words"), [(0, "absolute", "0 paths"), (1, "odd", "Unknown sign 'odd'")]
)
def test_bad_questions(count: int, sign: str, words: str) -> None:
    with pytest.raises(LigflowError, match=words):
        strongest([torch.eye(2)], 0, count, sign)
