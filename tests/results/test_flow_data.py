"""What a flow holds: shapes, certificates, composition against loops, chosen targets, unmet cells."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from architectures import ARCHITECTURES, build, example
from ligflow import CompletenessWarning, Explainer, Flow, LigflowError

LAYERS, HEADS, TOKENS = 2, 4, 5
CELL_SHAPE = {
    "z2u": (LAYERS, HEADS, TOKENS),
    "u2z": (LAYERS, TOKENS),
    "z2z": (LAYERS, TOKENS),
}


@pytest.fixture(scope="module")
def explainer() -> Explainer:
    return Explainer(build(ARCHITECTURES["bert"]), name="tiny")


@pytest.fixture(scope="module")
def inputs() -> dict[str, Tensor]:
    return example(ARCHITECTURES["bert"], tokens=TOKENS)


@pytest.fixture(scope="module")
def flow(explainer: Explainer, inputs: dict[str, Tensor]) -> Flow:
    return explainer.explain(inputs)


@pytest.fixture(scope="module")
def some_targets(explainer: Explainer, inputs: dict[str, Tensor]) -> Flow:
    return explainer.explain(inputs, targets=[3, -4], mlp_baseline="matched", att_baseline="zero")


@pytest.fixture(scope="module")
def by_hand() -> Flow:
    """Layers 1 and 3, two heads, targets b and d of four tokens; head 1 of layer 3 does not move at d."""
    z2u = torch.tensor(
        [
            [[[1, 2, 3, 4], [2, 0, 2, 4]], [[4, -1, 0, 1], [1, 1, 1, 1]]],
            [[[0, 0, 5, 0], [1, 3, 0, 6]], [[2, 2, 2, 2], [0, 0, 0, 0]]],
        ],
        dtype=torch.float64,
    )
    tensors = {
        "z2u": z2u,
        "u2z": torch.tensor([[[3, 1], [2, 4]], [[-1, 6], [5, 7]]], dtype=torch.float64),
        "u2z_residual": torch.tensor([[0.5, 0.25], [-2, 1]], dtype=torch.float64),
        "z2u.floor": torch.full((2, 2), 1e-9, dtype=torch.float64),
        **cells("z2u", z2u.sum(-1)),
        **cells("u2z", torch.tensor([[5.5, 5.25], [2, 14]], dtype=torch.float64)),
    }
    return Flow(list("abcd"), (1, 3), (1, 3), (False,) * 4, tensors, {"settings": {"tol": 1e-3}})


def cells(route: str, total: Tensor) -> dict[str, Tensor]:
    """What a flow keeps of every cell, all met, with residue and error 0."""
    zero = torch.zeros_like(total)
    parts = {"total": total, "scale": total.abs().clamp(min=1e-9), "residue": zero, "error": zero}
    parts |= {"origin": zero, "met": torch.ones_like(total, dtype=torch.bool)}
    nodes = torch.full((total.shape[0], total.shape[-1]), 7)
    return {f"{route}.{name}": part for name, part in parts.items()} | {f"{route}.nodes": nodes}


# --- shapes and labels ----------------------------------------------------------------------------


def test_maps_have_the_documented_shapes(flow: Flow) -> None:
    assert flow.z2u.shape == (LAYERS, HEADS, TOKENS, TOKENS)
    assert flow.u2z.shape == (LAYERS, HEADS, TOKENS)
    assert flow.u2z_residual.shape == (LAYERS, TOKENS)
    assert flow.z2z.shape == (LAYERS, TOKENS, TOKENS)
    assert flow.composed().shape == flow.composed("product").shape == (LAYERS, TOKENS, TOKENS)


@pytest.mark.parametrize("route", CELL_SHAPE)
def test_cells_have_the_shape_of_their_route(flow: Flow, route: str) -> None:
    for part in (flow.total, flow.certificate, flow.estimated_error, flow.origin_mass, flow.hidden):
        assert part(route).shape == CELL_SHAPE[route]
    assert flow.nodes(route).shape == (LAYERS, TOKENS)


def test_labels_of_a_flow(flow: Flow, inputs: dict[str, Tensor]) -> None:
    assert flow.tokens == [f"#{i}" for i in inputs["input_ids"][0].tolist()]
    assert (flow.layers, flow.targets, flow.special) == ((0, 1), (0, 1, 2, 3, 4), (False,) * 5)
    assert (flow.routes, flow.heads) == (("z2u", "u2z", "z2z"), HEADS)
    assert flow.meta["model"] == "tiny"
    assert flow.meta["settings"]["att_baseline"] == "itb"


# --- certificates ---------------------------------------------------------------------------------


@pytest.mark.parametrize("route", CELL_SHAPE)
def test_the_certificate_is_the_relative_completeness_error(flow: Flow, route: str) -> None:
    sums = flow.z2u.sum(-1) if route == "z2u" else flow.z2z.sum(-1)
    if route == "u2z":
        sums = flow.u2z.sum(1) + flow.u2z_residual
    expected = (sums - flow.total(route)) / flow.tensors[f"{route}.scale"]
    torch.testing.assert_close(flow.certificate(route), expected, rtol=0, atol=1e-6)
    assert flow.certificate(route).abs().max() <= 1e-3
    assert (flow.total(route) > 0).all()


@pytest.mark.parametrize("route", CELL_SHAPE)
def test_the_scale_is_the_total_where_that_is_above_rounding(flow: Flow, route: str) -> None:
    torch.testing.assert_close(flow.tensors[f"{route}.scale"], flow.total(route), rtol=1e-6, atol=0)


def test_errors_and_origin_are_relative_to_the_scale(by_hand: Flow) -> None:
    one = torch.full_like(by_hand.total("u2z"), 0.5)
    off = {"u2z.residue": one, "u2z.error": 2 * one, "u2z.origin": 4 * one}
    shifted = replace(by_hand, tensors={**by_hand.tensors, **off})
    relative = 0.5 / np.array([[5.5, 5.25], [2, 14]])
    np.testing.assert_allclose(shifted.certificate("u2z"), relative)
    np.testing.assert_allclose(shifted.estimated_error("u2z"), 2 * relative)
    np.testing.assert_allclose(shifted.origin_mass("u2z"), 4 * relative)
    assert shifted.worst_certificate() == pytest.approx(0.25)


def test_nothing_is_hidden_from_a_whole_flow(flow: Flow) -> None:
    assert all(flow.hidden(route).eq(0).all() for route in flow.routes)


# --- composition ----------------------------------------------------------------------------------


def product_by_loops(flow: Flow) -> np.ndarray:
    z2u, u2z = flow.z2u.numpy(), flow.u2z.numpy()
    out = np.zeros((len(flow.layers), len(flow.targets), len(flow.tokens)))
    for layer, row, source in np.ndindex(out.shape):
        for head in range(flow.heads):
            out[layer, row, source] += z2u[layer, head, row, source] * u2z[layer, head, row]
    return out


def conserving_by_loops(flow: Flow) -> np.ndarray:
    z2u, u2z, residual = flow.z2u.numpy(), flow.u2z.numpy(), flow.u2z_residual.numpy()
    out = np.zeros((len(flow.layers), len(flow.targets), len(flow.tokens)))
    for layer, row in np.ndindex(residual.shape):
        own = flow.targets[row]
        out[layer, row, own] += residual[layer, row]
        for head in range(flow.heads):
            column = z2u[layer, head, row]
            if column.sum() == 0:
                out[layer, row, own] += u2z[layer, head, row]
            else:
                out[layer, row] += column / column.sum() * u2z[layer, head, row]
    return out


def test_the_composed_maps_of_a_flow_worked_out_by_hand(by_hand: Flow) -> None:
    conserving, product = by_hand.composed("conserving"), by_hand.composed("product")
    # layer 1, target b: 3 (1 2 3 4)/10 + 2 (4 -1 0 1)/4, and the residual 0.5 at b itself
    np.testing.assert_allclose(conserving[0, 0], [2.3, 0.6, 0.9, 1.7], rtol=1e-12, atol=1e-12)
    # layer 3, target d: 6 (1 3 0 6)/10; head 1 stands still, so its 7 goes to d with the residual 1
    np.testing.assert_allclose(conserving[1, 1], [0.6, 1.8, 0.0, 11.6], rtol=1e-12, atol=1e-12)
    # layer 1, target b: 3 (1 2 3 4) + 2 (4 -1 0 1)
    np.testing.assert_allclose(product[0, 0], [11, 4, 9, 14])


@pytest.mark.parametrize("name", ["flow", "some_targets", "by_hand"])
def test_composed_maps_equal_loops(name: str, request: pytest.FixtureRequest) -> None:
    held = request.getfixturevalue(name)
    np.testing.assert_allclose(held.composed("product"), product_by_loops(held), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(held.composed(), conserving_by_loops(held), rtol=1e-4, atol=1e-5)


def test_conserving_sums_to_all_players_and_is_the_default(some_targets: Flow) -> None:
    players = some_targets.u2z.sum(1) + some_targets.u2z_residual
    torch.testing.assert_close(some_targets.composed().sum(-1), players, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(some_targets.composed(), some_targets.composed("conserving"), rtol=0, atol=0)


def test_an_unknown_composition_is_refused_with_the_valid_ones(flow: Flow) -> None:
    with pytest.raises(LigflowError, match="Unknown composition 'sum'; choose from conserving, product"):
        flow.composed("sum")


# --- chosen targets -------------------------------------------------------------------------------


def test_chosen_targets_are_the_rows_of_the_whole_flow(
    explainer: Explainer, inputs: dict[str, Tensor], flow: Flow
) -> None:
    some = explainer.explain(inputs, targets=[3, -4], layers=[-1])
    assert (some.targets, some.layers) == ((1, 3), (1,))
    assert len(some.tokens) == TOKENS
    rows = list(some.targets)
    for name in ("z2z", "u2z_residual"):
        torch.testing.assert_close(some.tensors[name][0], flow.tensors[name][1][rows], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(some.z2u[0], flow.z2u[1][:, rows], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(some.u2z[0], flow.u2z[1][:, rows], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(some.composed()[0], flow.composed()[1][rows], rtol=1e-4, atol=1e-5)


def test_the_residual_lands_at_the_source_that_is_the_target(some_targets: Flow) -> None:
    assert some_targets.targets == (1, 3)
    assert (some_targets.u2z_residual.abs() > 1e-3).all()
    still = replace(
        some_targets,
        tensors={**some_targets.tensors, "u2z_residual": torch.zeros_like(some_targets.u2z_residual)},
    )
    moved = some_targets.composed() - still.composed()
    expected = torch.zeros(LAYERS, 2, TOKENS)
    expected[:, 0, 1], expected[:, 1, 3] = some_targets.u2z_residual.T
    torch.testing.assert_close(moved, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("wrong", [{"targets": [5]}, {"targets": [-6]}, {"layers": [2]}, {"layers": [0, -3]}])
def test_a_position_out_of_range_is_refused_with_the_range(
    explainer: Explainer, inputs: dict[str, Tensor], wrong: dict[str, Any]
) -> None:
    with pytest.raises(
        LigflowError, match=r"There is no (target|layer) -?\d: there are \d, numbered 0 to \d"
    ):
        explainer.explain(inputs, **wrong)


# --- unmet cells ----------------------------------------------------------------------------------


def test_unmet_names_route_layer_head_target_and_errors(by_hand: Flow) -> None:
    met = by_hand.tensors["z2u.met"].clone()
    met[1, 0, 1] = False
    residue = torch.zeros_like(by_hand.total("z2u"))
    residue[1, 0, 1] = -2.5
    one = replace(by_hand, tensors={**by_hand.tensors, "z2u.met": met, "z2u.residue": residue})
    (cell,) = one.unmet
    assert (cell.route, cell.layer, cell.head, cell.target, cell.token) == ("z2u", 3, 0, 3, "d")
    assert (cell.certificate, cell.estimated_error) == (pytest.approx(-0.25), 0)


def test_unmet_cells_of_a_route_without_heads(by_hand: Flow) -> None:
    met = torch.tensor([[True, True], [False, True]])
    (cell,) = replace(by_hand, tensors={**by_hand.tensors, "u2z.met": met}).unmet
    assert (cell.route, cell.layer, cell.head, cell.target, cell.token) == ("u2z", 3, None, 1, "b")


def test_a_coarse_rule_leaves_just_the_cells_that_miss_the_tolerance(
    explainer: Explainer, inputs: dict[str, Tensor]
) -> None:
    with pytest.warns(CompletenessWarning, match="cells miss the tolerance; the worst is"):
        coarse = explainer.explain(inputs, quadrature="captum:3", routes=("u2z", "z2z"))
    missed = {(c.route, c.layer, c.target): c.certificate for c in coarse.unmet}
    expected = {
        (route, layer, target): float(coarse.certificate(route)[layer, target])
        for route in ("u2z", "z2z")
        for layer in range(LAYERS)
        for target in range(TOKENS)
        if abs(coarse.certificate(route)[layer, target]) > 1e-3
    }
    assert missed == expected
    assert len(missed) > 0
    assert (coarse.nodes("z2z") == 3).all()


# --- missing routes, repr -------------------------------------------------------------------------


def test_a_route_that_was_not_computed_is_an_error_that_says_how_to_get_it(
    explainer: Explainer, inputs: dict[str, Tensor]
) -> None:
    direct = explainer.explain(inputs, routes=("z2z",))
    assert (direct.routes, direct.heads) == (("z2z",), 0)
    for ask in (lambda: direct.z2u, lambda: direct.total("z2u"), lambda: direct.composed()):
        with pytest.raises(LigflowError, match=r"holds z2z, not z2u; ask for it: .*routes=\('z2u',\)"):
            ask()
    for ask in (lambda: direct.u2z, lambda: direct.u2z_residual, lambda: direct.certificate("u2z")):
        with pytest.raises(LigflowError, match="holds z2z, not u2z"):
            ask()


def test_an_unknown_route_is_refused_with_the_valid_ones(flow: Flow) -> None:
    with pytest.raises(LigflowError, match="Unknown route 'z2x'; choose from z2u, u2z, z2z"):
        flow.total("z2x")


def test_the_row_of_a_layer_is_its_place_in_this_flow(by_hand: Flow) -> None:
    assert (by_hand.row(1), by_hand.row(3)) == (0, 1)
    with pytest.raises(LigflowError, match=r"Layer 2 is not in this flow, which holds \[1, 3\]"):
        by_hand.row(2)


def test_repr_says_what_is_held_and_how_well(flow: Flow) -> None:
    text = repr(flow)
    assert text.startswith(
        "Flow(5 tokens, 5 targets, layers 0,1, 4 heads, routes z2u+u2z+z2z, model 'tiny', worst |certificate|"
    )
    assert text.endswith("all cells within 0.001)")


def test_repr_counts_the_cells_that_miss_the_tolerance(by_hand: Flow) -> None:
    met = torch.zeros_like(by_hand.tensors["u2z.met"])
    assert "4 cells miss 0.001" in repr(replace(by_hand, tensors={**by_hand.tensors, "u2z.met": met}))
    assert "layers 1,3, 2 heads, routes z2u+u2z, " in repr(by_hand)
