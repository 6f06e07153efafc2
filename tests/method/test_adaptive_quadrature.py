"""The adaptive driver against integrands that are hard on purpose."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ligflow.method.integral import Integral
from ligflow.method.quadrature import Adaptive


def columns(nodes: Tensor, targets: Tensor, powers: Tensor) -> Tensor:
    """`d/da a^p`, one target a row of powers, sources along the last axis: integrals are all 1."""
    values = powers[targets] * nodes[:, None, None] ** (powers[targets] - 1)
    return values[:, :, None]


def solve(powers: list[list[float]], tol: float = 1e-3, max_nodes: int = 1024) -> Integral:
    table = torch.tensor(powers, dtype=torch.float64)
    total = torch.full((len(powers), 1), float(len(powers[0])), dtype=torch.float64)
    return Adaptive().integrate(lambda a, j: columns(a, j, table), total, total.clone(), tol, max_nodes)


def test_polynomials_take_seven_nodes_and_are_exact() -> None:
    found = solve([[1, 2, 3], [2, 4, 5]])
    torch.testing.assert_close(found.value, torch.ones(2, 1, 3, dtype=torch.float64), rtol=0, atol=1e-14)
    assert found.nodes.tolist() == [7, 7]
    assert found.met.all()


def test_only_targets_that_have_not_converged_take_more_nodes() -> None:
    found = solve([[1.0], [60.0], [2.0]])
    assert found.nodes.tolist()[::2] == [7, 7]
    assert found.nodes[1] > 7
    assert found.met.all()
    torch.testing.assert_close(found.value, torch.ones(3, 1, 1, dtype=torch.float64), rtol=0, atol=1e-3)


@pytest.mark.parametrize(("power", "points"), [(0.5, 74), (0.3, 112), (0.2, 111)])
def test_mass_that_hides_at_the_origin_is_found_by_the_certificate(power: float, points: int) -> None:
    """Of `a^0.2` a quarter grows below a = 1e-3, and a part in 250 below 1e-12."""
    found = solve([[power]])
    assert found.met.all()
    assert float(found.value) == pytest.approx(1, abs=1e-3)
    assert abs(float(found.value) - 1) <= float(found.error) <= 1e-3
    assert found.nodes <= points


def test_mass_below_everything_is_reported_as_missing() -> None:
    """`a^0.01`: half of it lies below a = 1e-30."""
    found = solve([[0.01]])
    assert not found.met.any()
    assert float(found.value) < 0.99


def boundary_layer(width: float, nodes: Tensor, targets: Tensor) -> Tensor:
    """`d/da [a / sqrt(a^2 + w^2)]`, what a norm with epsilon does from a zero baseline."""
    slope = width**2 / (nodes**2 + width**2) ** 1.5
    return slope[:, None, None, None].expand(-1, len(targets), 1, 1)


@pytest.mark.parametrize(("width", "points"), [(1e-1, 16), (1e-3, 45), (1e-6, 66), (1e-12, 103)])
def test_a_norms_boundary_layer_is_resolved(width: float, points: int) -> None:
    total = torch.tensor([[1 / math.sqrt(1 + width**2)]], dtype=torch.float64)
    found = Adaptive().integrate(lambda a, j: boundary_layer(width, a, j), total, total.clone())
    assert found.met.all()
    assert float(found.value) == pytest.approx(float(total), abs=1e-3)
    assert found.nodes <= points


def test_boundary_layers_of_norms_in_a_row_are_resolved_at_once() -> None:
    """As from `zero` on Gemma: four norms, each a thousand times nearer to the start."""
    widths = (1e-3, 1e-6, 1e-9, 1e-12)
    total = torch.tensor([[sum(1 / math.sqrt(1 + width**2) for width in widths)]], dtype=torch.float64)
    found = Adaptive().integrate(
        lambda a, j: torch.stack([boundary_layer(width, a, j) for width in widths]).sum(0), total, total
    )
    assert found.met.all()
    assert abs(float(found.value - total)) <= float(found.error)
    assert found.nodes <= 127


def test_a_jump_along_the_path_ends_unmet_without_spending_the_budget() -> None:
    """F rises by 1 smoothly and by 1 in a jump that no derivative sees: half is missing."""
    total = torch.full((1, 1), 2.0, dtype=torch.float64)
    found = Adaptive().integrate(
        lambda a, j: torch.ones(len(a), len(j), 1, 1, dtype=a.dtype), total, total.clone()
    )
    assert not found.met.any()
    assert float(found.value) == pytest.approx(1.0)
    assert float(found.error) == pytest.approx(1.5)  # what is missing, as a divided path counts it
    assert found.nodes <= 255


def test_a_kink_inside_is_found_by_dividing() -> None:
    """`|a - 0.3|'`: two sources that cancel beside the kink, each with integral 0.3 or 0.7."""

    def pull(nodes: Tensor, targets: Tensor) -> Tensor:
        left = (nodes < 0.3).to(nodes)
        return torch.stack([left, 1 - left], dim=-1)[:, None, None]

    total = torch.ones(1, 1, dtype=torch.float64)
    found = Adaptive().integrate(pull, total, total.clone(), tol=1e-3)
    assert found.met.all()
    assert found.value.flatten().tolist() == pytest.approx([0.3, 0.7], abs=1e-3)


def test_a_target_stops_at_its_budget_and_is_named() -> None:
    generator = torch.Generator().manual_seed(0)

    def noise(nodes: Tensor, targets: Tensor) -> Tensor:
        return torch.randn(len(nodes), len(targets), 1, 2, dtype=nodes.dtype, generator=generator)

    total = torch.ones(2, 1, dtype=torch.float64)
    found = Adaptive().integrate(noise, total, total.clone(), max_nodes=60)
    assert not found.met.any()
    assert (found.nodes >= 60).all()
    assert (found.nodes < 60 + 80).all()
    assert torch.isfinite(found.value).all()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_an_integrand_that_is_not_finite_ends_unmet_and_stops_no_other(bad: float) -> None:
    """Beside it `a^60`, which needs more points than it: its one panel of 31 nodes is still refined."""
    powers = torch.tensor([[1.0], [1.0], [60.0]], dtype=torch.float64)

    def pull(nodes: Tensor, targets: Tensor) -> Tensor:
        return torch.where((targets == 1)[:, None, None], bad, columns(nodes, targets, powers))

    total = torch.ones(3, 1, dtype=torch.float64)
    found = Adaptive().integrate(pull, total, total.clone())
    assert found.met.flatten().tolist() == [True, False, True]
    assert found.nodes.tolist() == [7, 7, 31]
    assert found.value.flatten().tolist()[::2] == pytest.approx([1, 1], abs=1e-3)


def test_every_scalar_of_every_target_is_as_exact_as_it_was_asked_for() -> None:
    """Powers by target and scalar, on scales of 1 and 1,000: the harder scalar decides, for its target."""
    powers = torch.tensor([[30, 60], [2, 3], [0.3, 30], [30, 0.5]], dtype=torch.float64)
    total = torch.tensor([1.0, 1e3], dtype=torch.float64).expand(4, 2)

    def pull(nodes: Tensor, targets: Tensor) -> Tensor:
        values = total * powers * nodes[:, None, None] ** (powers - 1)
        return torch.stack([0.75 * values, 0.25 * values], dim=-1)[:, targets]

    found = Adaptive().integrate(pull, total, total.clone())
    assert found.met.all()
    off = (found.value - total[..., None] * torch.tensor([0.75, 0.25])).abs().sum(-1)
    assert (off <= found.error + 1e-9).all()
    assert (found.error <= 1e-3 * total).all()
    assert found.nodes.tolist()[:2] == [31, 7]
    assert (found.nodes[2:] <= torch.tensor([174, 90])).all()  # the harder alone takes 112 and 74
    assert found.divided.tolist() == [False, False, True, True]


@pytest.mark.parametrize(("sources", "points"), [((0.75, 0.25), 8), ((1.25, -0.25), 8), ((5.5, -4.5), 16)])
def test_a_sum_that_shows_the_errors_of_sources_spares_the_second_rule(
    sources: tuple[float, float], points: int
) -> None:
    """`d/da [1.2 a / (a + 0.2)]` by parts, exact to a tenth of the tolerance with 7 points and a look.

    Where sources cancel in the sum, it is no witness, and 15 points have to show it. The estimate covers the
    error in each case, and what is missing from the sum 1.5 times.
    """
    parts = torch.tensor(sources, dtype=torch.float64)
    total = torch.ones(1, 1, dtype=torch.float64)
    scale = total * parts.abs().sum()
    found = Adaptive().integrate(
        lambda a, j: (parts * 0.24 / (a[:, None] + 0.2) ** 2)[:, None, None], total, scale
    )
    off = float((found.value.flatten() - parts).abs().sum())
    assert int(found.nodes) == points
    assert off <= 1e-4 * float(scale)
    assert max(off, 1.5 * float((found.value.sum() - 1).abs())) <= float(found.error) <= 1e-3 * float(scale)


def test_targets_do_not_influence_each_other() -> None:
    powers = [[0.2, 1.0], [7.5, 40.0], [2.0, 3.0], [0.05, 90.0]]
    together = solve(powers, tol=1e-4)
    for row, own in enumerate(powers):
        alone = solve([own], tol=1e-4)
        assert alone.nodes[0] == together.nodes[row]
        torch.testing.assert_close(alone.value[0], together.value[row], rtol=1e-13, atol=0)


def test_a_cell_without_movement_is_met_at_once() -> None:
    zero = torch.zeros(1, 1, dtype=torch.float64)
    found = Adaptive().integrate(
        lambda a, j: torch.zeros(len(a), len(j), 1, 3, dtype=a.dtype), zero, torch.full_like(zero, 1e-300)
    )
    assert found.met.all()
    assert found.nodes.tolist() == [7]
    assert found.value.abs().max() == 0


def true_error(
    rise: Callable[[Tensor], Tensor], slope: Callable[[Tensor], Tensor], scale: float, points: int
) -> float:
    """The L1 error of a row that is met, over its scale. `rise` is F by source, `slope` its derivative.

    The row may take no more points than it does today, and its estimated error covers the true one.
    """
    ends = torch.tensor([0.0, 1.0], dtype=torch.float64)
    exact = rise(ends)[1] - rise(ends)[0]
    total = exact.sum().reshape(1, 1)
    found = Adaptive().integrate(lambda a, j: slope(a)[:, None, None], total, torch.full_like(total, scale))
    off = float((found.value.flatten() - exact).abs().sum())
    assert found.met.all()
    assert found.nodes <= points
    assert off <= float(found.error)
    return off / scale


POINTS = {
    "one": 149, "another": 157, "late and early": 313, "spread": 459, "near the end": 327,
    "two together": 321, "in the middle": 357, "against each other": 409, "apart": 469,
    "seen by the sum as well": 483,
    "a small one": 419, "agreed upon by luck": 463, "five": 383, "wide and narrow": 261, "gaining fast": 123,
    "gaining faster": 153,
}  # fmt: skip


KINKS = {
    "one": [(0.280238, 0.229726)],
    "another": [(0.734340, -0.232622)],
    "late and early": [
        (0.987241515976, 0.414105084979), (0.154826641109, 0.186561577212),
        (0.188546806269, 0.00398047856),
    ],
    "spread": [
        (0.929541844024, -0.313159226528), (0.716778409278, -0.10849190681),
        (0.419923309655, 0.354669771664),
    ],
    "near the end": [
        (0.625640967162, 0.111878668426), (0.6954252889, 0.128043198326),
        (0.993201941402, -0.283929164271),
    ],
    "two together": [
        (0.339437747516, 0.078918083908), (0.33241659732, 0.25233318506),
        (0.747168159731, 0.104420469277),
    ],
    "in the middle": [
        (0.399766857673, 0.367339944861), (0.517678026661, -0.143832034619),
        (0.61201282345, 0.108300985993),
    ],
    "against each other": [
        (0.41483683591, 0.380728140253), (0.391394331125, -0.338028598548),
        (0.56611532943, -0.430431782478),
    ],
    "apart": [
        (0.769879365248, 0.374982608038), (0.351003821133, -0.244703984235),
        (0.868056782068, 0.48222295391),
    ],
    "seen by the sum as well": [
        (0.698154869011, -0.476385901693), (0.856746694573, -0.185108255886),
        (0.441780822659, -0.427740745065),
    ],
    "a small one": [
        (0.600276233553, 0.078565901861), (0.746849247184, -0.121962702714),
        (0.082012840239, -0.156031454671),
    ],
    "agreed upon by luck": [
        (0.579933195485, -0.464830530807), (0.602581455625, -0.453927763163),
        (0.378073526014, -0.083719828164),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", KINKS)
def test_cells_are_right_where_neurons_switch_on_and_the_sum_does_not_see_it(name: str) -> None:
    """What one source gains at the kinks the other loses: the row's sum is right at every rule."""
    at, by = torch.tensor(KINKS[name], dtype=torch.float64).T

    def rise(a: Tensor) -> Tensor:
        first = (by * (a[:, None] - at).relu()).sum(-1)
        return torch.stack([first, a - first], dim=-1)

    def slope(a: Tensor) -> Tensor:
        first = (by * (a[:, None] > at)).sum(-1)
        return torch.stack([first, 1 - first], dim=-1)

    assert true_error(rise, slope, 1.0, POINTS[name]) <= 1e-3


PEAKS = {
    "five": [
        (0.276732623254, 0.035662244692, 0.221277115972), (0.226572535353, 0.02058035282, -0.206082487053),
        (0.742785124811, 0.02268109809, 0.232084591537), (0.730659881363, 0.089517831038, -0.047446717515),
        (0.184073833, 0.017007772978, -0.35923101972),
    ],
    "wide and narrow": [
        (0.260003175085, 0.097274261319, -0.168433658784), (0.126750047618, 0.093047951622, 0.281960139798),
        (0.793828127087, 0.023936789871, 0.09284857901), (0.599088251247, 0.027520970505, 0.483976998148),
        (0.127835857054, 0.098809628297, 0.063466730487),
    ],
    "gaining fast": [
        (0.512051788401, 0.03976464605, 0.089883933418), (0.264818073337, 0.019585013794, -0.284944905823),
        (0.491275229264, 0.03783245285, -0.297507916702), (0.408799352185, 0.041791563217, -0.226693101259),
        (0.986652420306, 0.047058215073, 0.159770585178),
    ],
    "gaining faster": [
        (0.544590593672, 0.048747426331, 0.274683128304), (0.454673801782, 0.055369863697, -0.111119894151),
        (0.006546327819, 0.08732216585, 0.416435280051), (0.166288972479, 0.021257674307, -0.491140854333),
        (0.308792328942, 0.08668771574, 0.159983666671),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", PEAKS)
def test_cells_are_right_where_narrow_features_cancel_between_sources(name: str) -> None:
    at, width, by = torch.tensor(PEAKS[name], dtype=torch.float64).T

    def rise(a: Tensor) -> Tensor:
        first = (by * torch.atan((a[:, None] - at) / width) / math.pi).sum(-1)
        return torch.stack([first, a - first], dim=-1)

    def slope(a: Tensor) -> Tensor:
        first = (by / width / (1 + ((a[:, None] - at) / width) ** 2) / math.pi).sum(-1)
        return torch.stack([first, 1 - first], dim=-1)

    assert true_error(rise, slope, 1.0, POINTS[name]) <= 1e-3


@pytest.mark.parametrize(
    ("gain", "loss", "points"),
    [
        (1.1675361802, 1.3867218383, 34),
        (1.0812934428, 1.2229185285, 34),
        (1.0487657894, 1.3117995365, 34),
        (1.0518514806464152, 1.6403413053152986, 15),
        (1.4228999558951505, 1.6513091339560835, 15),
    ],
)
def test_cells_are_right_where_powers_bend_at_the_start(gain: float, loss: float, points: int) -> None:
    """`a^p - a^q` with p and q little above 1: errors of one sign in one source, of the other in the next."""
    power = torch.tensor([gain, loss], dtype=torch.float64)
    sign = torch.tensor([1.0, -1.0], dtype=torch.float64)

    def rise(a: Tensor) -> Tensor:
        return sign * a[:, None] ** power

    def slope(a: Tensor) -> Tensor:
        return sign * power * a[:, None] ** (power - 1)

    assert true_error(rise, slope, 0.3, points) <= 1e-3
