"""Identities of the method, as numbers: completeness, vectors, both compositions, matched ends."""

import copy
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from architectures import ARCHITECTURES, build, example
from brute_force import by_captum
from ligflow import Explainer, direction
from ligflow.layer.layer import Layer
from ligflow.layer.model_state import prepared
from ligflow.method.baselines import Start, source_start
from ligflow.paths.after_attention import Cotangent
from ligflow.paths.attention_path import attention_path
from ligflow.paths.batch import alone
from ligflow.routes import autograd
from ligflow.routes.attribution import Attribution
from ligflow.routes.integration import attribute
from ligflow.routes.path_map import PathMap
from ligflow.routes.players import u_at, u_end
from ligflow.routes.workspace import Selection, Workspace
from ligflow.routes.z2u import z2u_from
from ligflow.routes.z2z import z2z_map

FAMILIES = ("bert", "llama", "gemma2", "gpt_neox")


def layer_of(name: str, dtype: torch.dtype = torch.float64) -> Iterator[tuple[Explainer, Layer, Selection]]:
    explainer = Explainer(build(ARCHITECTURES[name], dtype))
    layer = explainer.record(example(ARCHITECTURES[name], 6, dtype=dtype))[1]
    visible = torch.arange(6)
    with prepared(layer.module):
        yield explainer, layer, Selection(visible, visible)


def z2z_of(layer: Layer, start: Start) -> PathMap:
    return z2z_map(attention_path(alone(layer), start))


@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.parametrize("baseline", ["itb", "mean"])
@pytest.mark.parametrize("name", FAMILIES)
def test_vector_identity_with_unit_directions(name: str, baseline: str) -> None:
    """Integrating each unit direction e_d gives C_kj; its sum over k is dF_j, component by component."""
    for _, layer, place in layer_of(name):
        start = source_start(baseline, layer.hidden, place.visible)
        route = z2z_of(layer, start)
        parts = [
            attribute(route, place.targets, direction(unit), "gauss-legendre:24").value[:, 0]
            for unit in torch.eye(32, dtype=torch.float64)
        ]
        contributions = torch.stack(parts, dim=-1)
        first, end = route.image(torch.tensor([0.0, 1.0], dtype=torch.float64), place.targets)
        moved = (end - first)[:, 0]
        size = moved.norm(dim=-1).max()
        assert (contributions.sum(dim=1) - moved).norm(dim=-1).max() <= 1e-5 * size
        projected = attribute(route, place.targets, "projection", "gauss-legendre:24").value[:, 0]
        along = (contributions * torch.nn.functional.normalize(moved, dim=-1)[:, None]).sum(-1)
        torch.testing.assert_close(projected, along, rtol=1e-5, atol=1e-9 * float(size))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_direction_is_linear_and_signed(name: str) -> None:
    for _, layer, place in layer_of(name):
        route = z2z_map(attention_path(alone(layer), source_start("itb", layer.hidden, place.visible)))
        vector = torch.linspace(-1, 1, 32, dtype=torch.float64)
        plus = attribute(route, place.targets, direction(vector), "gauss-legendre:8")
        minus = attribute(route, place.targets, direction(-2 * vector), "gauss-legendre:8")
        torch.testing.assert_close(minus.value, -2 * plus.value)
        torch.testing.assert_close(minus.total, -2 * plus.total)
        own = direction(vector.expand(6, 1, 32))
        torch.testing.assert_close(attribute(route, place.targets, own, "gauss-legendre:8").value, plus.value)


@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("att_baseline", ["itb", "zero", "mean"])
def test_matched_ends_and_sums_of_both_compositions(name: str, att_baseline: str) -> None:
    """z2z and u2z have equal totals, target by target, and the conserving map shares out exactly them."""
    explainer = Explainer(build(ARCHITECTURES[name], torch.float64))
    flow = explainer.explain(
        example(ARCHITECTURES[name], 6), att_baseline=att_baseline, mlp_baseline="matched",
        layer_baseline=att_baseline, tol=1e-6 if att_baseline == "itb" else 1e-4,
    )  # fmt: skip
    certified = 1e-5 if att_baseline == "itb" else 2e-4
    torch.testing.assert_close(flow.total("z2z"), flow.total("u2z"), rtol=1e-9, atol=1e-12)
    players = flow.u2z.sum(dim=1) + flow.u2z_residual
    torch.testing.assert_close(flow.composed("conserving").sum(-1), players, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(players, flow.total("z2z"), rtol=certified, atol=1e-9)
    torch.testing.assert_close(flow.z2z.sum(-1), flow.total("z2z"), rtol=certified, atol=1e-9)
    expected = (flow.z2u.sum(-1) * flow.u2z).sum(dim=1)
    torch.testing.assert_close(flow.composed("product").sum(-1), expected, rtol=1e-9, atol=1e-9)


def test_matched_equals_att_itb_a0_under_itb() -> None:
    model = build(ARCHITECTURES["llama"], torch.float64)
    inputs = example(ARCHITECTURES["llama"], 5)
    matched = Explainer(model).explain(inputs, routes=("u2z",), mlp_baseline="matched")
    named = Explainer(model).explain(inputs, routes=("u2z",), mlp_baseline="att_itb_a0")
    assert torch.equal(matched.u2z, named.u2z)
    assert matched.u2z_residual.abs().max() == 0


@pytest.mark.parametrize("name", FAMILIES)
def test_itb_has_no_self_term(name: str) -> None:
    flow = Explainer(build(ARCHITECTURES[name])).explain(
        example(ARCHITECTURES[name], 5), routes=("z2u", "z2z")
    )
    assert flow.z2u.diagonal(dim1=-2, dim2=-1).abs().max() == 0
    assert flow.z2z.diagonal(dim1=-2, dim2=-1).abs().max() == 0


@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.filterwarnings("ignore::ligflow.CompletenessWarning")
@pytest.mark.parametrize("name", [n for n, a in ARCHITECTURES.items() if a.causal])
def test_nothing_comes_from_the_future_in_a_causal_model(name: str) -> None:
    flow = Explainer(build(ARCHITECTURES[name])).explain(
        example(ARCHITECTURES[name], 5), routes=("z2u", "z2z"), quadrature="gauss-legendre:3",
        att_baseline="zero", layer_baseline="mean", tol=0.999,
    )  # fmt: skip
    assert flow.z2u.triu(1).abs().max() == 0
    assert flow.z2z.triu(1).abs().max() == 0


def test_nothing_comes_from_beyond_a_sliding_window() -> None:
    flow = Explainer(build(ARCHITECTURES["mistral"])).explain(example(ARCHITECTURES["mistral"], 9))
    beyond = torch.ones(9, 9, dtype=torch.bool).tril(-4)
    assert flow.z2z[:, beyond].abs().max() == 0
    assert flow.z2u[:, :, beyond].abs().max() == 0
    assert flow.z2z[:, torch.ones(9, 9, dtype=torch.bool).tril(-1) & ~beyond].abs().min() > 0


@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.filterwarnings("ignore::ligflow.CompletenessWarning")
@pytest.mark.parametrize("name", ["bert", "gpt_oss", "t5"])
@pytest.mark.parametrize("baseline", ["itb", "zero"])
def test_blocks_do_not_change_a_result(name: str, baseline: str, monkeypatch: pytest.MonkeyPatch) -> None:
    architecture = ARCHITECTURES[name]
    explainer = Explainer(build(architecture))

    def run(pairs: int) -> Tensor:
        monkeypatch.setattr(PathMap, "pairs", lambda *_: pairs)
        flow = explainer.explain(
            example(architecture, 9), att_baseline=baseline, layer_baseline=baseline,
            mlp_baseline="matched", quadrature="gauss-legendre:5", tol=0.999,
        )  # fmt: skip
        return torch.cat([flow.tensors[route].flatten() for route in flow.routes])

    whole = run(10**6)
    for pairs in (1, 4, 13):
        torch.testing.assert_close(run(pairs), whole, rtol=1e-4, atol=1e-5 * float(whole.abs().max()))


@pytest.mark.parametrize("name", ["bert", "llama", "albert"])
def test_padding_does_not_change_a_result(name: str) -> None:
    architecture = ARCHITECTURES[name]
    explainer = Explainer(build(architecture))
    padded = example(architecture, 6, padding=4)
    bare = {key: value[:, :6] for key, value in padded.items()}
    for baseline in ("itb", "zero", "mean"):
        settings = {"att_baseline": baseline, "layer_baseline": baseline, "mlp_baseline": "matched"}
        ours, theirs = explainer.explain(padded, **settings), explainer.explain(bare, **settings)
        assert len(ours.tokens) == 6
        for name_ in ("z2u", "u2z", "u2z_residual", "z2z"):
            scale = float(theirs.tensors[name_].abs().max()) or 1.0
            torch.testing.assert_close(
                ours.tensors[name_], theirs.tensors[name_], rtol=1e-3, atol=1e-4 * scale
            )


def test_subsets_of_targets_and_layers_are_rows_of_the_whole() -> None:
    architecture = ARCHITECTURES["gemma3_text"]
    explainer = Explainer(build(architecture))
    whole = explainer.explain(example(architecture, 7))
    part = explainer.explain(example(architecture, 7), layers=[-1], targets=[5, 2])
    assert part.targets == (2, 5)
    assert part.layers == (1,)
    for route, index in (("z2u", (slice(1, 2), slice(None), [2, 5])), ("z2z", (slice(1, 2), [2, 5]))):
        torch.testing.assert_close(part.tensors[route], whole.tensors[route][index], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(part.composed(), whole.composed()[1:2, [2, 5]], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["bert", "llama"])
def test_captum_rule_reproduces_captum_on_the_unmodified_layer(name: str) -> None:
    for _, layer, place in layer_of(name):
        for baseline in ("zero", "itb"):
            start = source_start(baseline, layer.hidden, place.visible)
            ours = attribute(z2z_of(layer, start), place.targets, "l2", "captum:32").value[:, 0]
            for target in range(6):
                theirs = by_captum(
                    layer, start.vectors[target].expand(6, -1) if start.per_target else start.vectors, target
                )
                torch.testing.assert_close(ours[target], theirs, rtol=1e-6, atol=1e-6)


def test_u_at_the_start_is_attention_over_copies_of_the_target() -> None:
    for _, layer, place in layer_of("llama"):
        work = Workspace(alone(layer), (place,))
        found = u_at(work, "itb", 0.0)
        for target in range(6):
            copies = layer.hidden[target].expand(1, 6, -1)
            torch.testing.assert_close(found[target], layer.attend(copies)[0, target])
        end = z2u_from(work, "itb").image(torch.ones(1, dtype=torch.float64), place.targets)[0]
        torch.testing.assert_close(end, u_end(layer))


def test_a_tensor_baseline_of_zeros_is_the_zero_baseline() -> None:
    architecture = ARCHITECTURES["bert"]
    explainer = Explainer(build(architecture))
    named = explainer.explain(
        example(architecture, 5), att_baseline="zero", layer_baseline="zero", mlp_baseline="zero"
    )
    given = explainer.explain(
        example(architecture, 5), att_baseline=torch.zeros(32), layer_baseline=torch.zeros(5, 32),
        mlp_baseline=torch.zeros(4, 8),
    )  # fmt: skip
    for route in ("z2u", "u2z", "z2z"):
        torch.testing.assert_close(named.tensors[route], given.tensors[route], rtol=1e-4, atol=1e-5)


def test_ratio_corrections_give_the_self_share_of_the_other_map() -> None:
    architecture = ARCHITECTURES["bert"]
    explainer = Explainer(build(architecture))
    inputs = example(architecture, 6)
    itb = explainer.explain(inputs, routes=("z2u", "z2z"))
    zero = explainer.explain(inputs, routes=("z2u", "z2z"), att_baseline="zero", layer_baseline="zero")
    ratio = explainer.explain(
        inputs, routes=("z2u", "z2z"), att_baseline="itb_zero_ratio", layer_baseline="itb_zero_ratio"
    )
    for route in ("z2u", "z2z"):
        ours, theirs = ratio.tensors[route], zero.tensors[route]
        torch.testing.assert_close(ours.sum(-1), itb.tensors[route].sum(-1), rtol=1e-4, atol=1e-5)
        share = ours.diagonal(dim1=-2, dim2=-1) / ours.sum(-1)
        expected = theirs.diagonal(dim1=-2, dim2=-1) / theirs.sum(-1)
        torch.testing.assert_close(share, expected, rtol=1e-4, atol=1e-5)
    by_map = explainer.explain(inputs, routes=("z2u",), att_baseline="itb_map_ratio")
    alpha = attention_of(explainer, inputs)
    share = by_map.z2u.diagonal(dim1=-2, dim2=-1) / by_map.z2u.sum(-1)
    torch.testing.assert_close(share, alpha.diagonal(dim1=-2, dim2=-1), rtol=1e-4, atol=1e-5)


def attention_of(explainer: Explainer, inputs: dict[str, Tensor]) -> Tensor:
    """The weights that transformers itself returns, `[layer, head, target, source]`."""
    model = copy.deepcopy(explainer.model)
    model.set_attn_implementation("eager")
    with torch.no_grad():
        return torch.stack(model(**inputs, output_attentions=True).attentions)[:, 0]


def test_one_token_has_nothing_to_attribute_under_itb() -> None:
    for name in ("bert", "llama", "gpt2"):
        flow = Explainer(build(ARCHITECTURES[name])).explain(
            example(ARCHITECTURES[name], 1), att_baseline="itb_zero_ratio", layer_baseline="itb_zero_ratio"
        )
        assert flow.z2z.abs().max() == 0
        assert flow.z2u.abs().max() == 0
        assert not flow.unmet
        assert torch.isfinite(flow.certificate("z2z")).all()


def test_direct_z2z_serves_models_off_the_interface() -> None:
    from architectures import WHOLE_ONLY

    explainer = Explainer(build(WHOLE_ONLY["longformer"], torch.float64))
    for layer in explainer.record(example(WHOLE_ONLY["longformer"], 5)):
        with prepared(layer.module, layer.implementation):
            visible = torch.arange(5)
            start = source_start("zero", layer.hidden, visible)
            found = attribute(autograd.z2z(layer, start), visible, "l2", "captum:16").value[:, 0]
            torch.testing.assert_close(found[3], by_captum(layer, start.vectors, 3, 16), rtol=1e-6, atol=1e-6)


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
    found = attribute(straight(1.5e-3, torch.float32), torch.arange(3), "l2")
    assert float(found.total[0]) == pytest.approx(1.5e-3, rel=2e-3)
    assert found.value[0, 0].tolist() == pytest.approx([0.25 * 1.5e-3, 0.75 * 1.5e-3], rel=2e-3)
    assert float(found.total[1]) == pytest.approx(4, rel=1e-6)


def test_a_target_that_moves_by_rounding_has_not_moved() -> None:
    """Back at its start to 1e-6 of its size, by way of other points: no direction, and a row of zeros."""
    found = attribute(straight(5e-6, torch.float32), torch.arange(3), "l2")
    assert found.total[0] == 0
    assert found.value[0].abs().max() == 0
    assert found.met.all()


def test_little_motion_is_measured_between_like_runs_and_much_from_the_recorded_one() -> None:
    """The model's own run may round differently: much of a small motion, nothing of a large one."""
    plain = straight(1e-2, torch.float64)
    last = plain.image(torch.ones(1, dtype=torch.float64), torch.arange(3))[0]
    recorded = last + 2e-5 * torch.tensor([[[0.6, 0.8]], [[0.0, 1.0]], [[1.0, 0.0]]], dtype=torch.float64)
    found = attribute(straight(1e-2, torch.float64, recorded), torch.arange(3), "l2")
    assert found.total.flatten().tolist() == pytest.approx([1e-2, 4 + 2e-5, 5 + 2e-5], rel=1e-9)
    assert found.met.all()


@pytest.mark.filterwarnings("ignore::ligflow.CompletenessWarning")
@pytest.mark.parametrize("name", ["llama", "gemma3_text"])
def test_origin_mass_is_what_the_layer_itself_moves_by_in_the_first_millionth(name: str) -> None:
    explainer, inputs = Explainer(build(ARCHITECTURES[name])), example(ARCHITECTURES[name], 6)
    flow = explainer.explain(inputs, routes="z2z", layers=0, layer_baseline="zero")
    layer = explainer.record(inputs)[0].in_double()
    with explainer.lent(layer), torch.no_grad():
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
    return {kind: attribute(route, target, kind, tol=1e-6) for kind in ("l2", "projection")}


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
