"""Integration of a map: completeness, vectors, scalarisations, kinks, rounding."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from architectures import ARCHITECTURES, build, example, shared
from brute_force import by_captum
from families import FAMILIES, layer_of
from ligflow import Explainer, direction
from ligflow.layer.layer import Layer
from ligflow.method import from_names
from ligflow.method.baselines import Itb, Start
from ligflow.method.quadrature import Fixed
from ligflow.method.scalarization import L2, Projection
from ligflow.paths.after_attention import Cotangent
from ligflow.paths.attention_path import attention_path
from ligflow.paths.batch import alone
from ligflow.routes.attribution import Attribution
from ligflow.routes.integration import attribute
from ligflow.routes.path_map import PathMap
from ligflow.routes.z2z import z2z_map


def z2z_of(layer: Layer, start: Start) -> PathMap:
    return z2z_map(attention_path(alone(layer), start))


@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.parametrize("baseline", ["itb", "mean"])
@pytest.mark.parametrize("name", FAMILIES)
def test_vector_identity_with_unit_directions(name: str, baseline: str) -> None:
    """Integrating each unit direction e_d gives C_kj; its sum over k is dF_j, component by component."""
    for _, layer, place in layer_of(name):
        start = from_names.layer_baseline(baseline).start(layer.hidden, place.visible)
        route = z2z_of(layer, start)
        parts = [
            attribute(route, place.targets, direction(unit), Fixed("gauss-legendre:24")).value[:, 0]
            for unit in torch.eye(32, dtype=torch.float64)
        ]
        contributions = torch.stack(parts, dim=-1)
        first, end = route.image(torch.tensor([0.0, 1.0], dtype=torch.float64), place.targets)
        moved = (end - first)[:, 0]
        size = moved.norm(dim=-1).max()
        assert (contributions.sum(dim=1) - moved).norm(dim=-1).max() <= 1e-5 * size
        projected = attribute(route, place.targets, Projection(), Fixed("gauss-legendre:24")).value[:, 0]
        along = (contributions * torch.nn.functional.normalize(moved, dim=-1)[:, None]).sum(-1)
        torch.testing.assert_close(projected, along, rtol=1e-5, atol=1e-9 * float(size))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_direction_is_linear_and_signed(name: str) -> None:
    for _, layer, place in layer_of(name):
        route = z2z_map(attention_path(alone(layer), Itb().start(layer.hidden, place.visible)))
        vector = torch.linspace(-1, 1, 32, dtype=torch.float64)
        plus = attribute(route, place.targets, direction(vector), Fixed("gauss-legendre:8"))
        minus = attribute(route, place.targets, direction(-2 * vector), Fixed("gauss-legendre:8"))
        torch.testing.assert_close(minus.value, -2 * plus.value)
        torch.testing.assert_close(minus.total, -2 * plus.total)
        own = direction(vector.expand(6, 1, 32))
        torch.testing.assert_close(
            attribute(route, place.targets, own, Fixed("gauss-legendre:8")).value, plus.value
        )


@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.filterwarnings("ignore::ligflow.CompletenessWarning")
@pytest.mark.parametrize("name", ["bert", "gpt_oss", "t5"])
@pytest.mark.parametrize("baseline", ["itb", "zero"])
def test_blocks_do_not_change_a_result(name: str, baseline: str, monkeypatch: pytest.MonkeyPatch) -> None:
    architecture = ARCHITECTURES[name]
    explainer = shared(architecture)

    def run(pairs: int) -> Tensor:
        monkeypatch.setattr(PathMap, "pairs", lambda *_: pairs)
        flow = explainer.explain(
            example(architecture, 3), att_baseline=baseline, layer_baseline=baseline,
            mlp_baseline="matched", quadrature="gauss-legendre:5", tol=0.999,
        )  # fmt: skip
        return torch.cat([flow.tensors[route].flatten() for route in flow.routes])

    whole = run(10**6)
    for pairs in (1, 4, 13):
        torch.testing.assert_close(run(pairs), whole, rtol=1e-4, atol=1e-5 * float(whole.abs().max()))


@pytest.mark.parametrize("name", ["bert", "llama"])
def test_captum_rule_reproduces_captum_on_the_unmodified_layer(name: str) -> None:
    for _, layer, place in layer_of(name):
        for baseline in ("zero", "itb"):
            start = from_names.layer_baseline(baseline).start(layer.hidden, place.visible)
            ours = attribute(z2z_of(layer, start), place.targets, L2(), Fixed("captum:32")).value[:, 0]
            for target in range(6):
                theirs = by_captum(
                    layer, start.vectors[target].expand(6, -1) if start.per_target else start.vectors, target
                )
                torch.testing.assert_close(ours[target], theirs, rtol=1e-6, atol=1e-6)


def straight(length: float, dtype: torch.dtype, recorded: Tensor | None = None) -> PathMap:
    """`F(a) = C + a d` for two sources and three targets; `||C|| = 5`, and the first moves by `length`."""
    across = torch.tensor([[0.6, 0.8], [0.0, 1.0], [1.0, 0.0]], dtype=torch.float64)
    step = across * torch.tensor([[length], [4.0], [5.0]], dtype=torch.float64)

    def image(nodes: Tensor, rows: Tensor) -> Tensor:
        moved = torch.tensor([3.0, 4.0], dtype=torch.float64) + nodes.double()[:, None, None] * step[rows]
        return moved.to(dtype)[:, :, None]

    def pull(nodes: Tensor, rows: Tensor, towards: Cotangent) -> Tensor:
        halves = torch.tensor([0.25, 0.75], dtype=dtype)[:, None] * step.to(dtype)[rows][:, None]
        return (towards(image(nodes, rows))[:, :, :, None] * halves[:, None]).sum(-1)

    return PathMap(image, pull, 8, 8, recorded=None if recorded is None else lambda rows: recorded[rows])


def test_a_target_that_moves_little_keeps_its_numbers() -> None:
    """By 3e-4 of its size, which float32 knows to a part in a thousand: rounding is far below."""
    found = attribute(straight(1.5e-3, torch.float32), torch.arange(3), L2())
    assert float(found.total[0]) == pytest.approx(1.5e-3, rel=2e-3)
    assert found.value[0, 0].tolist() == pytest.approx([0.25 * 1.5e-3, 0.75 * 1.5e-3], rel=2e-3)
    assert float(found.total[1]) == pytest.approx(4, rel=1e-6)


def test_a_target_that_moves_by_rounding_has_not_moved() -> None:
    """Back at its start to 1e-6 of its size, by way of other points: no direction, and a row of zeros."""
    found = attribute(straight(5e-6, torch.float32), torch.arange(3), L2())
    assert found.total[0] == 0
    assert found.value[0].abs().max() == 0
    assert found.met.all()


def test_little_motion_is_measured_between_like_runs_and_much_from_the_recorded_one() -> None:
    """The model's own run may round differently: much of a small motion, nothing of a large one."""
    plain = straight(1e-2, torch.float64)
    last = plain.image(torch.ones(1, dtype=torch.float64), torch.arange(3))[0]
    recorded = last + 2e-5 * torch.tensor([[[0.6, 0.8]], [[0.0, 1.0]], [[1.0, 0.0]]], dtype=torch.float64)
    found = attribute(straight(1e-2, torch.float64, recorded), torch.arange(3), L2())
    assert found.total.flatten().tolist() == pytest.approx([1e-2, 4 + 2e-5, 5 + 2e-5], rel=1e-9)
    assert found.met.all()


@pytest.mark.filterwarnings("ignore::ligflow.CompletenessWarning")
@pytest.mark.parametrize("name", ["llama", "gemma3_text"])
def test_origin_mass_is_what_the_layer_itself_moves_by_in_the_first_millionth(name: str) -> None:
    explainer, inputs = Explainer(build(ARCHITECTURES[name])), example(ARCHITECTURES[name], 6)
    flow = explainer.explain(inputs, routes="z2z", layers=0, layer_baseline="zero")
    layer = explainer.prepared.record(inputs)[0].in_double()
    with explainer.prepared.ready_for(layer), torch.no_grad():
        z = layer.hidden
        image = layer.forward(torch.tensor([0, 1e-6, 1], dtype=torch.float64)[:, None, None] * z)
    moved = (image - image[0]).norm(dim=-1)
    expected = (moved[1] / moved[2]).float()
    assert (expected > 2e-6).all()
    torch.testing.assert_close(flow.origin_mass("z2z")[0], expected, rtol=2e-2, atol=1e-7)


def written_out(function: Callable[[Tensor], Tensor], start: list[float], end: list[float]) -> PathMap:
    """`F(x_1, x_2)` of two numbers along the straight path, gradients by automatic differentiation."""
    first, last = (torch.tensor(point, dtype=torch.float64) for point in (start, end))

    def at(nodes: Tensor) -> Tensor:
        return first + nodes.double()[:, None] * (last - first)

    def image(nodes: Tensor, rows: Tensor) -> Tensor:
        return function(at(nodes))[:, None, None].expand(-1, len(rows), 1, -1)

    def pull(nodes: Tensor, rows: Tensor, towards: Cotangent) -> Tensor:
        x = at(nodes).requires_grad_()
        with torch.enable_grad():
            value = function(x)
        cotangent = towards(value.detach()[:, None, None])[:, 0, 0]
        (grad,) = torch.autograd.grad(value, x, cotangent)
        return (grad * (last - first))[:, None, None]

    return PathMap(image, pull, 8, 8)


def by_scalarization(function: Callable[[Tensor], Tensor], end: list[float]) -> dict[str, Attribution]:
    route, target = written_out(function, [0.0, 0.0], end), torch.tensor([0])
    return {kind.name: attribute(route, target, kind, tol=1e-6) for kind in (L2(), Projection())}


def test_while_the_image_stays_at_its_start_only_projection_gives_credit() -> None:
    """`F = (x_1 + x_2 + relu(x_1 - 1/2), 0)` stays at 0 until a = 1/2: a ray, and yet other cells."""
    found = by_scalarization(
        lambda x: torch.stack([x.sum(-1) + (x[:, 0] - 0.5).relu(), 0 * x[:, 0]], dim=-1), [1.0, -1.0]
    )
    assert found["l2"].value.flatten().tolist() == pytest.approx([1, -0.5], abs=1e-6)
    assert found["projection"].value.flatten().tolist() == pytest.approx([1.5, -1], abs=1e-6)
    assert all(one.met.all() and float(one.total) == 0.5 for one in found.values())


def test_where_the_image_leaves_at_once_along_a_ray_both_agree() -> None:
    found = by_scalarization(
        lambda x: (x[:, :1] + x[:, 1:] ** 2 + x[:, :1] * x[:, 1:]) * torch.tensor([[3.0, 4.0]]).double(),
        [1.0, 2.0],
    )
    exact = [5 * (1 + 1), 5 * (4 + 1)]
    for one in found.values():
        assert one.value.flatten().tolist() == pytest.approx(exact, rel=1e-6)


def test_a_path_that_comes_back_has_a_row_of_zeros_under_projection_and_one_that_sums_to_zero_under_l2() -> (
    None
):
    """`F = 5 + x_1 - x_2^2` rises and comes back: `l2` gives 1 and -1, and there is no end to project on."""
    found = by_scalarization(lambda x: torch.stack([5 + x[:, 0] - x[:, 1] ** 2, 0 * x[:, 0]], -1), [1.0, 1.0])
    assert found["l2"].value.flatten().tolist() == pytest.approx([1, -1], abs=1e-9)
    assert found["projection"].value.flatten().tolist() == [0, 0]
    assert float(found["l2"].total) == float(found["projection"].total) == 0


def test_inside_a_kink_the_sum_is_right_and_the_split_is_that_of_automatic_differentiation() -> None:
    """`relu(x_1 - x_2) + x_1` with both sources alike: F is a along the path, and relu' at 0 counts as 0."""
    found = by_scalarization(lambda x: ((x[:, :1] - x[:, 1:]).relu() + x[:, :1]).expand(-1, 2), [1.0, 1.0])
    for one in found.values():
        assert one.value.flatten().tolist() == pytest.approx([2**0.5, 0], abs=1e-9)
        assert one.met.all()
