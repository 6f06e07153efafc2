import pytest
import torch
from torch import Tensor

from ligflow import LigflowError
from ligflow.method.composition import Conserving, HeadMaps, Product, compose, composition_rule

generator = torch.Generator().manual_seed(0)
Z2U = torch.rand(2, 3, 4, 6, dtype=torch.float64, generator=generator) + 0.1
U2Z = torch.randn(2, 3, 4, dtype=torch.float64, generator=generator)
RESIDUAL = torch.randn(2, 4, dtype=torch.float64, generator=generator)
TARGETS = torch.tensor([1, 2, 4, 5])
FLOOR = torch.full((2, 3, 4), 1e-9, dtype=torch.float64)


def conserved(z2u: Tensor, u2z: Tensor) -> Tensor:
    return compose(Conserving(), HeadMaps(z2u, u2z, RESIDUAL, z2u.sum(-1), FLOOR), TARGETS)


def test_product_by_hand() -> None:
    maps = HeadMaps(Z2U, U2Z, RESIDUAL, Z2U.sum(-1), FLOOR)
    found = compose(Product(), maps, TARGETS)
    by_hand = sum(float(Z2U[1, h, 2, 5] * U2Z[1, h, 2]) for h in range(3))
    assert abs(float(found[1, 2, 5]) - by_hand) < 1e-12


def test_conserving_by_hand_and_in_sum() -> None:
    found = conserved(Z2U, U2Z)
    shares = [float(Z2U[0, h, 3, 5] / Z2U[0, h, 3].sum() * U2Z[0, h, 3]) for h in range(3)]
    assert abs(float(found[0, 3, 5]) - sum(shares) - float(RESIDUAL[0, 3])) < 1e-12
    torch.testing.assert_close(found.sum(-1), U2Z.sum(1) + RESIDUAL)


def test_a_head_that_did_not_move_sends_its_share_to_the_diagonal() -> None:
    still = Z2U.clone()
    still[:, 1] = 0
    found = conserved(still, U2Z)
    others = conserved(still, U2Z * torch.tensor([1, 0, 1])[:, None])
    moved = found - others
    rows = torch.arange(4)
    torch.testing.assert_close(moved[:, rows, TARGETS], U2Z[:, 1])
    torch.testing.assert_close(found.sum(-1), U2Z.sum(1) + RESIDUAL)


def test_a_rule_has_a_name_and_ones_own_stays() -> None:
    assert composition_rule("conserving") == Conserving()
    assert composition_rule("product") == Product()
    own = Product()
    assert composition_rule(own) is own
    with pytest.raises(LigflowError, match="Unknown composition 'rollout'; choose from conserving, product"):
        composition_rule("rollout")


def test_an_affine_layer_is_off_by_what_is_at_right_angles_to_each_heads_move() -> None:
    """With contributions c to each head and a slope w behind it: C - E = -w' . c', both without the move."""
    added = torch.randn(3, 6, 2, dtype=torch.float64, generator=generator)
    slope = torch.randn(3, 1, 2, dtype=torch.float64, generator=generator)
    ways = torch.nn.functional.normalize(added.sum(1, keepdim=True), dim=-1)
    reads, exact = (added * ways).sum(-1), (added * slope).sum(-1)
    composed = _of_one_target(reads, exact.sum(-1))
    apart, across = (part - (part * ways).sum(-1, keepdim=True) * ways for part in (added, slope))
    torch.testing.assert_close(composed, exact.sum(0) - (apart * across).sum(-1).sum(0))


@pytest.mark.parametrize("apart", [1.0, 1e6])
def test_no_total_bounds_how_far_a_composed_map_is_off(apart: float) -> None:
    """Two sources of one head, and a layer that adds up both dimensions: all totals are 1."""
    hidden = torch.tensor([[[1.0, apart], [0.0, -apart]]], dtype=torch.float64)
    shown = torch.tensor([[[1.0 + apart, -apart], [-apart, apart]]], dtype=torch.float64)
    for added in (hidden, shown):
        exact = added.sum(-1)
        assert added.sum(1).tolist() == [[1, 0]]
        assert exact.sum() == 1
        composed = _of_one_target(added[..., 0], exact.sum(-1))
        assert (composed - exact[0]).abs().sum() == 2 * apart
    assert exact.tolist() == [[1, 0]]  # so that its own size does not bound it either
    assert composed.tolist() == [1 + apart, -apart]


def _of_one_target(reads: Tensor, writes: Tensor) -> Tensor:
    maps = HeadMaps(
        reads[None, :, None], writes[None, :, None], torch.zeros(1, 1, dtype=reads.dtype),
        reads.sum(-1)[None, :, None], torch.full((1, len(reads), 1), 1e-12, dtype=reads.dtype),
    )  # fmt: skip
    return compose(Conserving(), maps, torch.tensor([0]))[0, 0]
