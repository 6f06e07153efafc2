"""What a panel's values say: its integral, the changes between rules, where it is steep, where it goes on."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from ligflow.method.panel_nodes import nodes_between, slopes_between
from ligflow.method.panels import (
    FIRST,
    LAST,
    Panel,
    beside,
    count_of,
    panel_of,
    shown_of,
    times_missing,
)
from ligflow.method.quadrature_rules import fixed_rule, patterson_nodes, patterson_weights

EVERY = torch.tensor([0])


def panel(low: float, high: float, level: int, *values: Tensor) -> Panel:
    """The panel of one target with one scalar, its sources' values at the nodes."""
    slopes = slopes_between(low, high, 0, count_of(level))[:, None, None, None]
    return panel_of(low, high, level, EVERY, torch.stack(values, dim=-1)[:, None, None] * slopes)


def nodes(low: float, high: float, level: int) -> Tensor:
    return nodes_between(low, high, 0, count_of(level))


def test_levels_have_one_node_more_than_twice_those_before() -> None:
    assert [count_of(level) for level in range(5)] == [1, 3, 7, 15, 31]
    assert (FIRST, LAST) == (2, 4)


def test_nodes_are_laid_on_the_panel() -> None:
    whole, part = nodes(0.0, 1.0, FIRST), nodes(0.5, 0.75, FIRST)
    torch.testing.assert_close(part, 0.5 + 0.25 * whole)
    assert float(whole[0]) == 0.5
    assert panel(0.5, 0.75, FIRST, part).first == pytest.approx(float(part.min()) - 0.5)


def test_its_integral_and_changes_are_those_of_the_nested_rules() -> None:
    a = nodes(0.2, 0.6, FIRST)
    seen = panel(0.2, 0.6, FIRST, torch.exp(5 * a))
    exact = (math.exp(3) - math.exp(1)) / 5
    one = 0.4 * math.exp(5 * 0.4)  # the rule with one node
    gauss = fixed_rule("gauss-legendre:3")  # the rule with three is Gauss's
    three = 0.4 * float((gauss.weights * torch.exp(5 * (0.2 + 0.4 * gauss.nodes))).sum())
    assert float(seen.value) == pytest.approx(exact, rel=1e-6)
    assert seen.changes.flatten().tolist() == pytest.approx([abs(exact - three), abs(three - one)], rel=1e-2)


def test_the_polynomial_goes_on_to_the_ends() -> None:
    a = nodes(0.2, 0.6, FIRST)
    ends = panel(0.2, 0.6, FIRST, a**6 - a, a**2).ends.flatten()
    assert ends.tolist() == pytest.approx([0.2**6 - 0.2, 0.04, 0.6**6 - 0.6, 0.36], abs=1e-12)


@pytest.mark.parametrize(("power", "low"), [(0.2, 0.0), (0.2, 0.5), (6.0, 0.0)])
def test_it_is_steep_beside_its_low_end_alone(power: float, low: float) -> None:
    a = nodes(0.0, 1.0, FIRST)
    seen = panel(low, low + 0.5, FIRST, power * a ** (power - 1))
    steps = (power * a.sort()[0] ** (power - 1)).diff().abs()
    assert float(seen.steep) == (pytest.approx(float(steps.max())) if power < 1 else 0)


def test_the_error_is_told_by_the_pace_and_for_kinks_by_the_change() -> None:
    """`d min(1, 2 r^2)` while the path is whole; once it was divided, a fifth of d at least."""
    a = nodes(0.0, 1.0, FIRST)
    whole, part = panel(0.0, 1.0, FIRST, torch.exp(2 * a)), panel(0.5, 1.0, FIRST, torch.exp(2 * a))
    smooth, rough, unseen = torch.tensor([False]), torch.tensor([True]), torch.zeros(1, 1)
    change, before = whole.changes.flatten().tolist()
    expected = max(change * min(1, 2 * (change / before) ** 2), float(whole.decay))
    assert float(whole.error(smooth, unseen)) == pytest.approx(expected)
    assert float(whole.error(rough, unseen)) == pytest.approx(max(change, before / 5))
    assert float(part.error(smooth, unseen)) == pytest.approx(max(change / 2 / 5, float(part.decay)))
    assert whole.quick().all()
    for shown, less in ((0.3, 1.0), (0.5, 2.0), (1.0, 8.0)):
        seen = torch.full((1, 1), shown)
        assert float(whole.error(smooth, seen)) == pytest.approx(expected / less)
        assert float(whole.error(rough, seen)) == pytest.approx(max(change, before / 5))


def test_seven_nodes_beside_the_start_are_not_trusted_to_gain() -> None:
    """Two rules may agree there by luck."""
    smooth = torch.tensor([False])
    for low, high, level, trusted in [
        (0.0, 1e-3, FIRST, False),
        (0.0, 1e-3, FIRST + 1, True),
        (0.0, 1.0, FIRST, True),
        (0.5, 0.501, FIRST, True),
    ]:
        seen = panel(low, high, level, torch.exp(2 * (nodes(low, high, level) - low) / (high - low)))
        change, before = seen.changes.flatten().tolist()
        estimate = float(seen.error(smooth))
        if trusted:
            assert estimate < 0.9 * max(change, 0.2 * before)
        else:
            assert estimate == pytest.approx(max(change, 0.2 * before))


def test_neither_are_parts_there() -> None:
    a = nodes(0.0, 1e-3, FIRST)
    values = torch.stack([torch.exp(2e3 * a), torch.sin(1e3 * a)], dim=-1)[:, None, None]
    seen = panel_of(0.0, 1e-3, FIRST, EVERY, values, lambda parts: parts.sum(-1, keepdim=True))
    assert seen.parts is not None
    change, before = seen.parts.changes.flatten().tolist()
    estimate = float(seen.part_error(torch.tensor([False])))
    assert estimate == pytest.approx(max(change, 0.2 * before))


def test_what_the_sum_shows_of_the_changes_says_how_far_it_is_a_witness() -> None:
    """Sources that move alike, against each other by a half, and against each other by all; and a kink."""
    a = nodes(0.0, 1.0, FIRST)
    wave = torch.exp(4 * a)

    def shown(*sources: Tensor) -> float:
        seen = panel(0.0, 1.0, FIRST, *sources)
        return float(shown_of(seen.summed, seen.changes[0]))

    assert shown(wave, 3 * wave) == pytest.approx(1)
    assert shown(wave, -wave / 3) == pytest.approx(0.5)
    assert shown(wave, -wave) == pytest.approx(0, abs=1e-9)
    assert shown(torch.zeros_like(a)) == 0
    assert shown((a > 0.3).to(a)) == 0
    shares = torch.tensor([[1.0, 0.75, 0.5, 0.1, 0.0]], dtype=torch.float64)
    assert times_missing(shares)[0].tolist() == pytest.approx([1.5, 2, 3, 3, 3])


@pytest.mark.parametrize("level", [FIRST, 3])
def test_the_decay_is_that_of_the_best_polynomials_of_six_four_and_two_degrees_less(level: int) -> None:
    """`T r^2 / 10`: what each pair of degrees adds is told by least squares on the nodes, by source."""
    a, x = nodes(0.2, 0.6, level), patterson_nodes(level)
    sources, root = (1 / (a - 0.1), torch.exp(9 * a)), np.sqrt(patterson_weights(level) / 2)

    def off(values: Tensor, degree: int) -> float:
        best = np.polynomial.Polynomial.fit(x, values.numpy(), degree, domain=[-1, 1], w=root)
        return float(np.sum((root * (best(x) - values.numpy())) ** 2))

    offs = np.array([[off(f, len(x) - 1 - less) for less in (0, 2, 4, 6)] for f in sources])
    last, middle, early = np.sqrt(np.diff(offs)).sum(0)
    seen = panel(0.2, 0.6, level, *sources)
    pace = max(last / middle, middle / early)
    assert float(seen.decay) == pytest.approx(0.4 * 0.1 * last * pace**2, rel=1e-6)
    assert seen.blur.flatten().tolist() == pytest.approx([16 * last] * 2, rel=1e-6)


def test_parts_have_an_error_of_their_own_that_no_sum_witnesses() -> None:
    """Two parts that nearly cancel, on the whole path: their pace is trusted as that of a divided one is."""
    a, smooth, rough = nodes(0.0, 1.0, FIRST), torch.tensor([False]), torch.tensor([True])
    wave = torch.cos(8 * a)
    values = torch.stack([wave + a, -wave], dim=-1)[:, None, None]
    parted = panel_of(0.0, 1.0, FIRST, EVERY, values, lambda parts: parts.sum(-1, keepdim=True))
    summed, apart = panel(0.0, 1.0, FIRST, a), panel(0.0, 1.0, FIRST, wave + a, -wave)
    change, before = apart.changes.flatten().tolist()
    trusted = change * min(1, max(0.2, 10 * (change / before) ** 2))
    assert float(parted.part_error(smooth)) == pytest.approx(max(trusted, float(apart.decay)))
    assert float(parted.part_error(rough)) == pytest.approx(max(change, before / 5))
    torch.testing.assert_close(
        parted.error(smooth, torch.ones(1, 1)), summed.error(smooth, torch.ones(1, 1)), rtol=0, atol=1e-15
    )
    assert parted.parts is not None
    torch.testing.assert_close(parted.parts.value, apart.value)
    torch.testing.assert_close(parted.parts.start, apart.ends[0])
    assert [len(part) for part in (parted.values, parted.part(smooth).targets)] == [7, 0]


def test_a_kink_is_rough_and_a_smooth_integrand_is_not() -> None:
    """Not on the logarithm: there it may be many decades of something smooth."""
    a = nodes(0.0, 1.0, 3)
    assert panel(0.5, 1.0, 3, (a > 0.3).double()).is_rough().all()
    assert not panel(0.1, 1.0, 3, (a > 0.3).double()).is_rough().any()
    assert not panel(0.5, 1.0, 3, torch.exp(a)).is_rough().any()
    assert not panel(0.5, 1.0, FIRST, (nodes(0.0, 1.0, FIRST) > 0.3).double()).is_rough().any()


def test_ways_to_divide() -> None:
    values = torch.ones(7, dtype=torch.float64)
    whole, late = panel(0.0, 1.0, FIRST, values), panel(0.01, 1.0, FIRST, values)
    assert whole.graded(sharp=False) == [(0.0, 0.1), (0.1, 1.0)]
    assert whole.graded(sharp=True) == [(0.0, 1e-3), (1e-3, 1.0)]
    assert whole.halves() == [(0.0, 0.5), (0.5, 1.0)]
    assert late.halves() == [(0.01, pytest.approx(0.1)), (pytest.approx(0.1), 1.0)]
    assert panel(0.3, 0.9, FIRST, values).halves() == [(0.3, pytest.approx(0.6)), (pytest.approx(0.6), 0.9)]
    for sharp in (False, True):
        graded = panel(0.0, 0.1, FIRST, values).graded(sharp)
        assert [edge for edges in graded for edge in edges] == pytest.approx([0, 1e-7, 1e-7, 1e-4, 1e-4, 0.1])


@pytest.mark.parametrize("scale", [1e-8, 1e-6, 1e-4])
def test_three_decades_on_the_logarithm_take_fifteen_nodes(scale: float) -> None:
    """`d/da [a / sqrt(a^2 + c^2)]`, with its values at both ends: ten times as exactly as evenly laid."""
    low, high = scale / 30, scale * 30

    def rise(a: Tensor) -> Tensor:
        return a / (a**2 + scale**2).sqrt()

    def slope(a: Tensor) -> Tensor:
        return scale**2 / (a**2 + scale**2) ** 1.5

    seen = panel(low, high, 3, slope(nodes(low, high, 3)))
    ends = torch.tensor([low, high], dtype=torch.float64)
    change = float(rise(ends).diff())
    assert float(seen.value) == pytest.approx(change, rel=1e-4)
    assert float(seen.error(torch.tensor([False]))) <= 1e-2
    off = (seen.ends.flatten() - slope(ends)).abs()
    assert (off <= seen.blur.flatten()).all()
    even = panel_of(0.0, high - low, 3, EVERY, slope(low + nodes(0.0, high - low, 3))[:, None, None, None])
    assert abs(float(even.value) / change - 1) > 1e-3


def test_the_largest_step_is_sharp_where_it_is_the_first() -> None:
    a = nodes(0.0, 1.0, FIRST)
    assert panel(0.0, 1.0, FIRST, 1 / (a + 0.01)).sharp.all()
    assert not panel(0.0, 1.0, FIRST, torch.exp(-((a - 0.1) ** 2) / 0.01)).sharp.any()
    assert not panel(0.0, 1.0, FIRST, torch.exp(9 * a)).sharp.any()


def test_a_step_between_neighbours_hides_the_gap_times_the_way_to_their_nodes() -> None:
    low = panel(0.0, 0.5, FIRST, torch.zeros(7, dtype=torch.float64))
    high = panel(0.5, 1.0, FIRST, torch.full((7,), 3.0, dtype=torch.float64))
    ours, theirs, hidden = beside(low, high, count=1)
    assert (ours.tolist(), theirs.tolist()) == ([0], [0])
    assert float(hidden) == pytest.approx(3 * (low.last + high.first) / 2)
    nobody = torch.tensor([False])
    assert [len(part) for part in beside(low.part(nobody), high, count=1)] == [0, 0, 0]
    assert [len(part) for part in beside(low, high.part(nobody), count=1)] == [0, 0, 0]


def test_values_are_kept_while_more_can_be_added() -> None:
    a = nodes(0.0, 1.0, LAST)
    assert len(panel(0.0, 1.0, LAST, a).values) == 0
    assert len(panel(0.0, 1.0, FIRST, nodes(0.0, 1.0, FIRST)).values) == 7
