import pytest
import torch

from ligflow import LigflowError
from ligflow.method.baselines import own_path, source_paths, source_start
from ligflow.method.ratio_corrections import map_ratio, zero_ratio

Z = torch.arange(12, dtype=torch.float64).reshape(4, 3)
VISIBLE = torch.arange(4)


def test_starts() -> None:
    assert source_start("zero", Z, VISIBLE).vectors.abs().max() == 0
    assert source_start("mean", Z, torch.tensor([0, 1])).vectors.tolist() == [[1.5, 2.5, 3.5]] * 4
    assert source_start("itb", Z, VISIBLE).per_target
    given = source_start(torch.ones(2, 3), Z, torch.tensor([1, 3])).vectors
    assert given.sum(-1).tolist() == [0, 3, 0, 3]


@pytest.mark.parametrize("shape", [(3, 3), (4,), (1, 4, 3)])
def test_a_baseline_of_the_wrong_shape_says_what_fits(shape: tuple[int, ...]) -> None:
    with pytest.raises(LigflowError, match=r"\(4, 3\) or \(3,\)"):
        source_start(torch.ones(shape), Z, VISIBLE)


def test_a_baseline_with_nan_is_refused() -> None:
    with pytest.raises(LigflowError, match="NaN"):
        source_start(torch.full((3,), float("nan")), Z, VISIBLE)


def test_paths_begin_at_the_start_and_end_at_z() -> None:
    nodes, targets = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64), torch.tensor([2, 0])
    shared, step = source_paths(source_start("zero", Z, VISIBLE), Z, nodes, targets)
    assert shared.shape == (3, 4, 3)
    assert torch.equal(shared[1], Z / 2)
    assert torch.equal(step[0], Z)
    itb, step = source_paths(source_start("itb", Z, VISIBLE), Z, nodes, targets)
    assert itb.shape == (6, 4, 3)
    assert torch.equal(itb[0], Z[2].expand(4, 3))
    assert torch.equal(itb[5], Z)
    assert torch.equal(step[1], Z - Z[0])
    assert torch.equal(own_path(source_start("itb", Z, VISIBLE), Z, nodes, targets)[0], Z[targets])


def test_zero_ratio_gives_the_zero_maps_self_share_and_keeps_the_sum() -> None:
    itb = torch.tensor([[[0.0, 2.0, 4.0]]])
    zero = torch.tensor([[[1.0, 1.0, 2.0]]])
    found = zero_ratio(itb, zero, torch.tensor([0]))
    torch.testing.assert_close(found, torch.tensor([[[1.5, 1.5, 3.0]]]))


def test_a_share_above_one_flips_the_others() -> None:
    itb = torch.tensor([[[0.0, 2.0, 4.0]]])
    zero = torch.tensor([[[3.0, -1.0, 0.0]]])
    found = zero_ratio(itb, zero, torch.tensor([0]))
    torch.testing.assert_close(found, torch.tensor([[[9.0, -1.0, -2.0]]]))


def test_ratios_without_anything_to_share_stay_finite() -> None:
    nothing = torch.zeros(1, 1, 3)
    assert zero_ratio(nothing, nothing, torch.tensor([1])).abs().max() == 0
    alone = torch.tensor([[[1.0, 0.0, 0.0]]])
    assert map_ratio(nothing, alone, torch.tensor([0])).abs().max() == 0


def test_map_ratio_gives_the_attention_weight_as_self_share() -> None:
    itb = torch.tensor([[[3.0, 0.0, 1.0]]])
    alpha = torch.tensor([[[0.5, 0.25, 0.25]]])
    found = map_ratio(itb, alpha, torch.tensor([1]))
    torch.testing.assert_close(found, torch.tensor([[[2.25, 1.0, 0.75]]]))
