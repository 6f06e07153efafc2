"""The slow rule: equal panels that are halved, and the origin by decades where the sum fails."""

import math

import pytest
import torch
from torch import Tensor

from ligflow.method.fine_quadrature import NODES, PANELS, FineIntegral, fine

ONE = torch.ones(1, 1, dtype=torch.float64)


def powers(*exponents: float, tol: float = 1e-3) -> FineIntegral:
    """`d/da a^p`, one target a power: each integral is 1."""
    table = torch.tensor(exponents, dtype=torch.float64)

    def values(nodes: Tensor, targets: Tensor) -> Tensor:
        p = table[targets]
        return (p * nodes[:, None] ** (p - 1))[..., None, None]

    ones = torch.ones(len(exponents), 1, dtype=torch.float64)
    return fine(values, ones, ones, tol)


def test_a_polynomial_takes_every_panel_and_its_halves_once_and_is_exact() -> None:
    integral = powers(16.0, 2.0)
    assert integral.nodes.tolist() == [3 * PANELS * NODES] * 2
    assert integral.value.flatten().tolist() == pytest.approx([1, 1], abs=1e-14)
    assert float(integral.error.max()) < 1e-13


def test_only_a_target_whose_sum_fails_is_looked_at_near_the_origin() -> None:
    """`d/da [a / sqrt(a^2 + w^2)]` is 0 at every node of equal panels if w is 1e-10, and 0.9 near it."""
    width = torch.tensor([1e-10, 0.5], dtype=torch.float64)

    def values(nodes: Tensor, targets: Tensor) -> Tensor:
        w = width[targets]
        return (w**2 / (nodes[:, None] ** 2 + w**2) ** 1.5)[..., None, None]

    exact = (1 / (1 + width**2).sqrt())[:, None]
    integral = fine(values, exact, exact, 1e-3)
    torch.testing.assert_close(integral.value[..., 0], exact, rtol=1e-6, atol=0)
    assert integral.nodes[1] == 3 * PANELS * NODES
    assert integral.nodes[0] > (3 * PANELS + 2 * 24 + PANELS) * NODES  # once in vain, once by decades


def test_panels_are_halved_where_it_is_steep_until_they_agree() -> None:
    """An arctangent, a thousandth wide: `atan((1 - m)/w) + atan(m/w)`."""
    width, middle = 1e-3, 0.3333

    def values(nodes: Tensor, targets: Tensor) -> Tensor:
        return (width / (width**2 + (nodes - middle) ** 2))[:, None, None, None]

    exact = math.atan((1 - middle) / width) + math.atan(middle / width)
    integral = fine(values, exact * ONE, exact * ONE, 1e-3)
    assert float(integral.value) == pytest.approx(exact, rel=1e-6)
    assert abs(float(integral.value) - exact) <= float(integral.error) <= 1e-3 * exact
    assert 4 * PANELS * NODES < integral.nodes < 8 * PANELS * NODES


def test_a_jump_between_two_sources_is_left_within_the_last_panel() -> None:
    """What one source gains at 0.3 the other loses: the sum cannot tell."""

    def values(nodes: Tensor, targets: Tensor) -> Tensor:
        before = (nodes < 0.3).to(nodes)
        return torch.stack([before, 1 - before], dim=-1)[:, None, None]

    integral = fine(values, ONE, ONE, 1e-3)
    assert integral.value.flatten().tolist() == pytest.approx([0.3, 0.7], abs=1e-5)


def test_sums_decide_and_parts_have_their_own_error_near_the_origin_as_well() -> None:
    """Two parts, 2 and -1 times a boundary layer that equal panels do not see."""
    width = 1e-10

    def values(nodes: Tensor, targets: Tensor) -> Tensor:
        slope = (width**2 / (nodes**2 + width**2) ** 1.5)[:, None, None, None]
        return torch.cat([2 * slope, -slope], dim=-1).expand(-1, len(targets), -1, -1)

    integral = fine(values, ONE, ONE, 1e-3, lambda parts: parts.sum(-1, keepdim=True))
    assert integral.value.flatten().tolist() == pytest.approx([2, -1], abs=1e-6)
    assert integral.parts_error is not None
    assert float(integral.error) > 0
    assert float(integral.parts_error) == pytest.approx(3 * float(integral.error))
