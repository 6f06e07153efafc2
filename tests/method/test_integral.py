"""Integrands in parts: rules decide by the sums, and the error of parts is estimated apart."""

import math

import pytest
import torch
from torch import Tensor

from ligflow.method.integral import Integral, Parted, sums_of, with_sums
from ligflow.method.quadrature import Adaptive, Fine, Fixed, Quadrature

TOTAL = torch.ones(2, 1, dtype=torch.float64)


def _sums(parts: Tensor) -> Tensor:
    """Two parts of each of two sources."""
    return parts.unflatten(-1, (2, 2)).sum(-2)


def _values(nodes: Tensor, targets: Tensor) -> Tensor:
    """Sources whose integrals are 1/4 and 3/4, each with a part of its own that the other one takes back."""
    a, power = nodes[:, None], 1.0 + targets
    sources = torch.stack([(power + 1) / 4 * a**power, 3 * (power + 2) / 4 * a ** (power + 1)], dim=-1)
    wave = (20 * a).cos()[..., None].expand_as(sources)
    return torch.cat([sources + wave, -wave], dim=-1)[:, :, None]


@pytest.mark.parametrize("rule", [Adaptive(), Fine(), Fixed("gauss-legendre:12")])
def test_rules_decide_by_the_sums_and_integrate_all_parts(rule: Quadrature) -> None:
    parted = rule.integrate(Parted(_values, _sums), TOTAL, TOTAL)
    alone = rule.integrate(lambda a, j: _sums(_values(a, j)), TOTAL, TOTAL)
    assert torch.equal(parted.nodes, alone.nodes)
    torch.testing.assert_close(parted.value, alone.value, rtol=1e-12, atol=1e-12)
    assert parted.parts is not None
    torch.testing.assert_close(_sums(parted.parts), parted.value)
    torch.testing.assert_close(alone.value, torch.tensor([[[0.25, 0.75]]] * 2, dtype=torch.float64))


def test_an_error_that_the_sums_do_not_show_is_estimated() -> None:
    found = Adaptive().integrate(Parted(_values, _sums), TOTAL, TOTAL)
    assert found.parts is not None
    assert found.parts_error is not None
    wave = math.sin(20) / 20
    true = (found.parts[..., 2:] + wave).abs().sum(-1) + (
        found.parts[..., :2] - found.value - wave
    ).abs().sum(-1)
    assert (found.error < 1e-10).all()
    assert (true > 1e-4).all()
    assert (true <= found.parts_error).all()


def test_a_jump_of_parts_beside_the_start_is_seen_where_it_is_looked_for() -> None:
    def jumping(nodes: Tensor, targets: Tensor) -> Tensor:
        jump = ((-nodes / 1e-3).exp() / 1e-3)[:, None, None, None].expand(-1, len(targets), 1, 1)
        zero = torch.zeros_like(jump)
        return torch.cat([1 + jump, zero, -jump, zero], dim=-1)

    unseen, looked = (
        Adaptive().integrate(Parted(jumping, _sums, looks), TOTAL, TOTAL).parts_error
        for looks in (False, True)
    )
    assert unseen is not None
    assert looked is not None
    assert (unseen < 1e-3).all()
    assert (looked > 1).all()  # each of two parts misses an integral of 1


def test_a_rule_that_knows_no_parts_has_them_summed() -> None:
    parts = torch.arange(8.0).reshape(2, 1, 4)
    met = torch.ones(2, 1, dtype=torch.bool)
    took_them_for_sources = Integral(
        parts, torch.ones(2, 1), torch.ones(2, dtype=torch.int64), met, met[:, 0]
    )
    found = with_sums(took_them_for_sources, _sums)
    assert found.value.tolist() == [[[2, 4]], [[10, 12]]]
    assert found.parts is parts
    assert found.parts_error is took_them_for_sources.error
    assert with_sums(took_them_for_sources, None) is took_them_for_sources
    assert sums_of(_values) is None
