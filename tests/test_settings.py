"""Settings: every unknown name is refused with the valid ones, and all of it can be written down."""

import json
from typing import Any

import numpy as np
import pytest
import torch

from ligflow import LigflowError, direction
from ligflow.devices.precision import PRECISIONS
from ligflow.method.from_names import ATT_BASELINES, LAYER_BASELINES, MLP_BASELINES, SCALARIZATIONS
from ligflow.method.quadrature_rules import FIXED_RULES
from ligflow.method.scalarization import L2, Projection
from ligflow.names import MAX_NODES
from ligflow.settings import ROUTES, ask


@pytest.mark.parametrize(
    ("wrong", "known"),
    [
        ({"routes": ("z2z", "z2x")}, ROUTES),
        ({"routes": ()}, ROUTES),
        ({"att_baseline": "att_itb_a0"}, tuple(ATT_BASELINES)),
        ({"mlp_baseline": "itb"}, tuple(MLP_BASELINES)),
        ({"layer_baseline": "itb_map_ratio"}, tuple(LAYER_BASELINES)),
        ({"scalarization": "l1"}, tuple(SCALARIZATIONS)),
        ({"scalarization": {"z2z": "l1"}}, tuple(SCALARIZATIONS)),
        ({"scalarization": {"z2x": "l2"}}, ROUTES),
        ({"quadrature": "simpson:4"}, ("adaptive", *FIXED_RULES)),
        ({"precision": "double"}, PRECISIONS),
    ],
    ids=str,
)
def test_an_unknown_name_is_refused_with_the_valid_ones(
    wrong: dict[str, Any], known: tuple[str, ...]
) -> None:
    with pytest.raises(LigflowError) as refused:
        ask(**wrong)
    assert all(name in str(refused.value) for name in known)


def test_the_unknown_name_itself_is_in_the_message() -> None:
    with pytest.raises(LigflowError, match="Unknown att_baseline 'mask'; choose from itb, zero, mean"):
        ask(att_baseline="mask")


@pytest.mark.parametrize("rule", ["captum", "captum:", "captum:1", "captum:-3", "midpoint:0", "trapezoid:x"])
def test_a_fixed_rule_needs_a_number_of_nodes(rule: str) -> None:
    with pytest.raises(LigflowError, match="whole number"):
        ask(quadrature=rule)


@pytest.mark.parametrize("rule", ["captum:2", "trapezoid:2", "midpoint:1", "gauss-legendre:1"])
def test_the_smallest_fixed_rules_are_accepted(rule: str) -> None:
    assert ask(quadrature=rule).quadrature.name == rule


@pytest.mark.parametrize("tol", [0.0, -1e-3, 1.0, 5.0, float("nan"), float("inf")])
def test_a_tolerance_outside_of_0_to_1_is_refused(tol: float) -> None:
    with pytest.raises(LigflowError, match=f"tol is {tol}"):
        ask(tol=tol)


@pytest.mark.parametrize("nodes", [6, 0, -7])
def test_fewer_nodes_than_the_first_panel_are_refused(nodes: int) -> None:
    with pytest.raises(LigflowError, match=f"max_nodes is {nodes}; .* 7 nodes"):
        ask(max_nodes=nodes)


@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.parametrize(
    "wrong",
    [{"tol": "1e-3"}, {"tol": None}, {"max_nodes": 50.5}, {"max_nodes": "50"}, {"quadrature": 16},
     {"att_baseline": 0.0}, {"att_baseline": [0.0, 1.0]}, {"scalarization": 2}],
    ids=str,
)  # fmt: skip
def test_a_setting_of_another_type_is_named(wrong: dict[str, Any]) -> None:
    (name,) = wrong
    with pytest.raises(LigflowError, match=name):
        ask(**wrong)


@pytest.mark.usefixtures("no_shape_checks")
def test_numbers_of_numpy_can_be_written_down() -> None:
    described = ask(tol=np.float32(0.5), max_nodes=np.int64(50)).describe()  # type: ignore[arg-type]
    assert json.loads(json.dumps(described)) == described
    assert (described["tol"], described["max_nodes"]) == (0.5, 50)


def test_seven_nodes_are_enough() -> None:
    assert ask(max_nodes=7).max_nodes == 7


def test_one_scalarization_is_for_all_routes() -> None:
    assert [ask(scalarization="projection").scalarization_of(r) for r in ROUTES] == [Projection()] * 3


def test_a_scalarization_a_route_leaves_the_others_at_l2() -> None:
    towards = direction(torch.ones(4))
    settings = ask(scalarization={"z2z": towards, "u2z": "projection"})
    assert settings.scalarization_of("z2z") is towards
    assert settings.scalarization_of("u2z") == Projection()
    assert settings.scalarization_of("z2u") == L2()


def test_the_defaults_are_described_in_full() -> None:
    assert ask().describe() == {
        "routes": ["z2u", "u2z", "z2z"],
        "att_baseline": "itb",
        "mlp_baseline": "att_itb_a0",
        "layer_baseline": "itb",
        "scalarization": {"z2u": "l2", "u2z": "l2", "z2z": "l2"},
        "quadrature": "adaptive",
        "tol": 1e-3,
        "max_nodes": MAX_NODES,
        "precision": "float32",
        "experts": "routed",
    }


def test_tensors_are_described_by_their_shape() -> None:
    described = ask(
        routes=("z2z",),
        layer_baseline=torch.zeros(5, 8),
        mlp_baseline=torch.zeros(2, 4),
        scalarization={"z2z": direction(torch.ones(8)), "u2z": "projection"},
    ).describe()
    assert described["layer_baseline"] == "tensor[5, 8]"
    assert described["mlp_baseline"] == "tensor[2, 4]"
    assert described["scalarization"] == {"z2z": "direction[8]"}
    assert json.loads(json.dumps(described)) == described
