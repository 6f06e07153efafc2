"""Rules with fixed nodes, and the nested ones, against known integrals."""

import numpy as np
import pytest

from ligflow import LigflowError
from ligflow.method.quadrature_rules import fixed_rule, patterson_nodes, patterson_weights


@pytest.mark.parametrize(("level", "degree"), [(0, 1), (1, 5), (2, 11), (3, 23), (4, 47)])
def test_patterson_rules_are_exact_to_their_degree_and_no_further(level: int, degree: int) -> None:
    nodes, weights = patterson_nodes(level), patterson_weights(level)
    assert len(nodes) == 2 ** (level + 1) - 1
    assert (weights > 0).all()
    for power in range(degree + 1):
        exact = 2 / (power + 1) if power % 2 == 0 else 0
        assert weights @ nodes**power == pytest.approx(exact, abs=1e-14)
    if level < 3:
        assert abs(weights @ nodes ** (degree + 1) - 2 / (degree + 2)) > 1e-5


def test_patterson_levels_are_nested() -> None:
    for level in range(1, 5):
        np.testing.assert_array_equal(patterson_nodes(level)[: 2**level - 1], patterson_nodes(level - 1))


@pytest.mark.parametrize(
    ("name", "nodes", "weight_sum", "square"),
    [
        ("gauss-legendre:3", 3, 1, 1 / 3),
        ("midpoint:2", 2, 1, (1 / 16 + 9 / 16) / 2),
        ("trapezoid:3", 3, 1, (0.25 + 0.5) / 2),
        ("captum:4", 4, 3 / 4, (1 / 9 + 4 / 9 + 0.5) / 4),
    ],
)
def test_fixed_rules(name: str, nodes: int, weight_sum: float, square: float) -> None:
    rule = fixed_rule(name)
    assert len(rule.nodes) == nodes
    assert float(rule.weights.sum()) == pytest.approx(weight_sum)
    assert float((rule.weights * rule.nodes**2).sum()) == pytest.approx(square)


@pytest.mark.parametrize(
    "name", ["simpson:4", "captum:1", "captum", "midpoint:0", "midpoint:-3", "captum:1e3", ""]
)
def test_an_unknown_rule_lists_those_that_exist(name: str) -> None:
    with pytest.raises(LigflowError, match="gauss-legendre:n") as caught:
        fixed_rule(name)
    assert "captum:n" in str(caught.value)


@pytest.mark.parametrize("count", ["²", "٣٢", "9" * 5000], ids=["exponent", "arabic", "endless"])
def test_a_number_that_is_not_plain_digits_is_refused(count: str) -> None:
    with pytest.raises(LigflowError, match="whole number"):
        fixed_rule(f"captum:{count}")
