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
