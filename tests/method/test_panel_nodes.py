"""Nodes of panels: evenly laid, or on the logarithm."""

import math

import pytest
import torch

from ligflow.method.panel_nodes import is_logarithmic, nodes_between, slopes_at_ends, slopes_between
from ligflow.method.quadrature_rules import patterson_nodes, patterson_weights

LEVEL, COUNT = 3, 15


def test_panels_that_span_more_than_a_factor_of_four_away_from_the_start_are_logarithmic() -> None:
    assert [is_logarithmic(*ends) for ends in ((0.0, 1.0), (0.25, 1.0), (0.2, 1.0), (1e-9, 1e-6))] == [
        False, False, True, True,
    ]  # fmt: skip


def test_even_nodes_have_slope_one() -> None:
    x = torch.from_numpy((patterson_nodes(LEVEL) + 1) / 2)
    torch.testing.assert_close(nodes_between(0.5, 0.75, 0, COUNT), 0.5 + 0.25 * x)
    assert slopes_between(0.5, 0.75, 0, COUNT).tolist() == [1.0] * COUNT
    assert slopes_at_ends(0.5, 0.75) == (1.0, 1.0)


@pytest.mark.parametrize("span", [10.0, 1e3])
def test_on_the_logarithm_slopes_are_the_derivatives_of_nodes(span: float) -> None:
    """`sum_s w_s f(a_s) slope_s (high - low)` is the integral: of 1, 1 / a and a."""
    low, high = 1e-9, 1e-9 * span
    a, slopes = nodes_between(low, high, 0, COUNT), slopes_between(low, high, 0, COUNT)
    weights = torch.from_numpy(patterson_weights(LEVEL) / 2) * slopes * (high - low)
    assert low < float(a.min()) < float(a.max()) < high
    assert float(a[0]) == pytest.approx(math.sqrt(low * high))
    assert float(weights.sum()) == pytest.approx(high - low, rel=1e-12)
    assert float((weights / a).sum()) == pytest.approx(math.log(span), rel=1e-12)
    assert float((weights * a).sum()) == pytest.approx((high**2 - low**2) / 2, rel=1e-9)
    assert slopes_at_ends(low, high) == pytest.approx(
        tuple((slopes[0] / a[0] * x).item() for x in (low, high))
    )


def test_nodes_are_cut_out_of_the_longest_rule() -> None:
    for low in (0.0, 1e-4):
        whole, slopes = nodes_between(low, 1.0, 0, 31), slopes_between(low, 1.0, 0, 31)
        assert torch.equal(nodes_between(low, 1.0, 7, 15), whole[7:15])
        assert torch.equal(slopes_between(low, 1.0, 7, 15), slopes[7:15])
