"""Memory of a map, and a target's own source."""

import torch
from torch import Tensor

from ligflow.paths.after_attention import Cotangent
from ligflow.routes.path_map import PathMap, with_own


def test_a_budget_holds_pairs_in_half_of_it_and_never_less_than_a_replay() -> None:
    def image(nodes: Tensor, rows: Tensor) -> Tensor:
        return nodes[:, None, None, None].expand(-1, len(rows), 1, 1)

    def pullback(nodes: Tensor, rows: Tensor, towards: Cotangent) -> Tensor:
        return towards(image(nodes, rows))

    path_map = PathMap(image, pullback, pair_bytes=100, target_bytes=250, least_pairs=6)
    assert path_map.least_budget == 2 * 6 * 100
    assert [path_map.pairs(budget) for budget in (10, 1200, 1399, 1400, 2000)] == [6, 6, 6, 7, 10]
    assert PathMap(image, pullback, pair_bytes=100, target_bytes=250).least_budget == 500


def test_what_moves_with_a_target_is_added_to_its_own_source() -> None:
    sources = torch.arange(12.0).reshape(1, 2, 2, 3)
    own = torch.tensor([[[10.0, 20.0], [30.0, 40.0]]])
    added = with_own(sources, own, torch.tensor([2, 0]))
    assert (added - sources).tolist() == [[[[0, 0, 10], [0, 0, 20]], [[30, 0, 0], [40, 0, 0]]]]
    assert with_own(sources, None, torch.tensor([2, 0])) is sources
