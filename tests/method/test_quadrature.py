"""What every rule gives: the integral, its points, and whether the sum that is known was met."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from ligflow import LigflowError
from ligflow.method.integral import Integral, Parted
from ligflow.method.quadrature import Adaptive, CheckedQuadrature, Fine, Fixed, Quadrature

RULES = [Adaptive(), Fine(), Fixed("gauss-legendre:8")]


def exponentials(nodes: Tensor, targets: Tensor) -> Tensor:
    """`d/da exp(r a)` for rates 1 and -2 of target 0, 2 and 3 of target 1."""
    rates = torch.tensor([[1.0, -2.0], [2.0, 3.0]], dtype=torch.float64)[targets]
    return (rates * torch.exp(rates * nodes[:, None, None]))[:, :, None]


def integrated(rule: Quadrature, tol: float = 1e-3, off: float = 0.0) -> Integral:
    """The integrals, of totals that are `off` by this part."""
    total = torch.tensor([[math.e + math.exp(-2) - 2], [math.exp(2) + math.exp(3) - 2]], dtype=torch.float64)
    return rule.integrate(exponentials, total * (1 + off), total.clone(), tol)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_rules_agree_on_what_is_smooth(rule: Quadrature) -> None:
    integral = integrated(rule)
    exact = [math.e - 1, math.exp(-2) - 1, math.exp(2) - 1, math.exp(3) - 1]
    assert integral.value.flatten().tolist() == pytest.approx(exact, rel=1e-6)
    assert integral.met.all()
    assert isinstance(rule, Quadrature)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_sum_that_is_not_the_known_one_is_not_met(rule: Quadrature) -> None:
    assert integrated(rule, off=0.0005).met.all() or rule.name == "adaptive"  # which asks for a third of it
    assert not integrated(rule, off=0.002).met.any()


def test_a_fixed_rule_takes_its_own_points_and_knows_no_error() -> None:
    integral = integrated(Fixed("midpoint:100"))
    assert integral.nodes.tolist() == [100, 100]
    assert integral.error.abs().max() == 0
    points = (torch.arange(100, dtype=torch.float64) + 0.5) / 100
    exact = exponentials(points, torch.tensor([0, 1])).mean(0)
    torch.testing.assert_close(integral.value, exact, rtol=1e-12, atol=0)


def test_a_fixed_rule_misses_the_boundary_layer_and_says_so() -> None:
    """`d/da [a / sqrt(a^2 + w^2)]`, what a norm with epsilon does from a zero baseline."""

    def layer(nodes: Tensor, targets: Tensor) -> Tensor:
        return (1e-12 / (nodes**2 + 1e-12) ** 1.5)[:, None, None, None]

    total = torch.ones(1, 1, dtype=torch.float64)
    integral = Fixed("gauss-legendre:16").integrate(layer, total, total.clone())
    assert not integral.met.any()
    assert float(integral.value) < 0.1


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_parts_that_jump_where_their_sum_does_not_cost_no_points(rule: Quadrature) -> None:
    """`a^2` and a step at 0.3 that its second part takes back: integrals 1/3 + 0.7 and -0.7."""

    def parts(nodes: Tensor, targets: Tensor) -> Tensor:
        step = (nodes > 0.3).to(nodes)
        return torch.stack([nodes**2 + step, -step], dim=-1)[:, None, None]

    total = torch.full((1, 1), 1 / 3, dtype=torch.float64)
    integral = rule.integrate(Parted(parts, lambda each: each.sum(-1, keepdim=True)), total, total.clone())
    alone = rule.integrate(lambda a, j: parts(a, j).sum(-1, keepdim=True), total, total.clone())
    assert integral.nodes.tolist() == alone.nodes.tolist()
    assert float(integral.value) == pytest.approx(1 / 3, abs=1e-12)
    assert integral.met.all()
    assert integral.parts is not None
    assert integral.parts_error is not None
    assert alone.parts is alone.parts_error is None
    off = (integral.parts.flatten() - torch.tensor([1 / 3 + 0.7, -0.7], dtype=torch.float64)).abs().sum()
    assert 1e-3 < off < 0.2
    assert float(integral.parts_error) > (off if rule.name == "adaptive" else -1)  # fixed rules know none


class Own:
    """A caller's rule, which returns what it holds."""

    name = "own"

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def integrate(self, *_: Any) -> Any:
        return self.answer


def test_a_callers_rule_is_asked_and_must_answer_with_an_integral() -> None:
    integral = integrated(Adaptive())
    checked = CheckedQuadrature(Own(integral))
    assert checked.name == "own"
    assert integrated(checked) is integral
    with pytest.raises(LigflowError, match="'own' returned float"):
        integrated(CheckedQuadrature(Own(1.0)))
