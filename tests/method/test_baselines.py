import pytest
import torch

from ligflow import LigflowError
from ligflow.method.baselines import Itb, Mean, Vectors, Zero, own_path, source_paths

Z = torch.arange(12, dtype=torch.float64).reshape(4, 3)
VISIBLE = torch.arange(4)


def test_starts() -> None:
    assert Zero().start(Z, VISIBLE).vectors.abs().max() == 0
    assert Mean().start(Z, torch.tensor([0, 1])).vectors.tolist() == [[1.5, 2.5, 3.5]] * 4
    assert Itb().start(Z, VISIBLE).per_target
    given = Vectors(torch.ones(2, 3)).start(Z, torch.tensor([1, 3])).vectors
    assert given.sum(-1).tolist() == [0, 3, 0, 3]


@pytest.mark.parametrize("shape", [(3, 3), (4,), (1, 4, 3)])
def test_a_baseline_of_the_wrong_shape_says_what_fits(shape: tuple[int, ...]) -> None:
    with pytest.raises(LigflowError, match=r"\(4, 3\) or \(3,\)"):
        Vectors(torch.ones(shape)).start(Z, VISIBLE)


def test_a_baseline_with_nan_is_refused() -> None:
    with pytest.raises(LigflowError, match="NaN"):
        Vectors(torch.full((3,), float("nan"))).start(Z, VISIBLE)


def test_paths_begin_at_the_start_and_end_at_z() -> None:
    nodes, targets = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64), torch.tensor([2, 0])
    shared, step = source_paths(Zero().start(Z, VISIBLE), Z, nodes, targets)
    assert shared.shape == (3, 4, 3)
    assert torch.equal(shared[1], Z / 2)
    assert torch.equal(step[0], Z)
    itb, step = source_paths(Itb().start(Z, VISIBLE), Z, nodes, targets)
    assert itb.shape == (6, 4, 3)
    assert torch.equal(itb[0], Z[2].expand(4, 3))
    assert torch.equal(itb[5], Z)
    assert torch.equal(step[1], Z - Z[0])
    assert torch.equal(own_path(Itb().start(Z, VISIBLE), Z, nodes, targets)[0], Z[targets])
