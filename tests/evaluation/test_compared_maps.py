"""The maps that checks compare: the engine's equal those of autograd, and a change of one is its size."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from ligflow.evaluation.compared_maps import default_maps, engine_and_autograd, errors_of_cells, largest_gap
from ligflow.layer.findings import Mode
from ligflow.layer.layer import Layer
from ligflow.method.baselines import Baseline, Itb, Mean, Zero
from ligflow.method.quadrature import Adaptive
from ligflow.method.scalarization import L2
from ligflow.routes.integration import attribute
from ligflow.routes.path_map import PathMap
from ligflow.routes.workspace import Selection
from recorded_layers import recorded_alone

pytestmark = pytest.mark.usefixtures("no_shape_checks")
Recorded = tuple[Layer, Selection]


@pytest.fixture
def recorded() -> Iterator[Recorded]:
    """The first layer of a small BERT, which can be replayed until the test ends."""
    layers = recorded_alone("bert")
    yield next(layers)
    layers.close()


@pytest.mark.parametrize("baseline", [Zero(), Itb(), Mean()], ids=lambda baseline: baseline.name)
def test_engine_and_autograd_are_equal_and_a_change_of_one_is_its_size(
    recorded: Recorded, baseline: Baseline
) -> None:
    layer, tokens = recorded
    for route, engine, oracle in engine_and_autograd(layer, baseline, tokens):
        assert largest_gap(engine, oracle, tokens, 1e-9, torch.float64) < 1e-10, route
        if route == "z2z":
            louder = replace(engine, pullback=lambda *parts, pull=engine.pullback: 1.01 * pull(*parts))
            exact = attribute(oracle, tokens.targets, L2(), Adaptive())
            largest = (exact.value.abs().amax(-1) / exact.scale).max()
            gap = largest_gap(louder, oracle, tokens, 1e-9, torch.float64)
            assert gap == pytest.approx(0.01 * float(largest), rel=0.2)


def test_routes_that_are_compared(recorded: Recorded) -> None:
    layer, tokens = recorded
    assert [name for name, *_ in engine_and_autograd(layer, Zero(), tokens)] == ["z2z", "z2u", "u2z"]
    coupled = replace(layer, findings=replace(layer.findings, mode="coupled"))
    assert [name for name, *_ in engine_and_autograd(coupled, Zero(), tokens)] == ["u2z"]
    whole = replace(layer, findings=replace(layer.findings, mode="whole"))
    assert list(engine_and_autograd(whole, Zero(), tokens)) == []
    assert {*default_maps(layer, tokens)} == {"z2u", "z2z", "u2z"}
    assert {*default_maps(whole, tokens)} == {"z2z"}


def test_errors_are_of_cells_where_both_rules_hold(recorded: Recorded) -> None:
    layer, tokens = recorded
    exact = attribute(default_maps(layer, tokens)["z2z"], tokens.targets, L2(), Adaptive())
    off = replace(exact, value=exact.value + 0.5 * exact.scale[..., None])
    assert errors_of_cells(off, exact).flatten().tolist() == pytest.approx([0.5] * exact.value.numel())
    unmet = exact.met.clone()
    unmet[0] = False
    assert len(errors_of_cells(replace(off, met=unmet), exact)) == len(exact.met) - 1


@pytest.mark.parametrize("mode", ["split", "whole"])
def test_the_default_z2z_starts_at_the_target_itself(recorded: Recorded, mode: Mode) -> None:
    layer, tokens = recorded
    layer = replace(layer, findings=replace(layer.findings, mode=mode))
    route: PathMap = default_maps(layer, tokens)["z2z"]
    start = route.image(torch.zeros(1, dtype=torch.float64), tokens.targets)[0, :, 0]
    alone = torch.stack([layer.forward(row.expand_as(layer.hidden)[None])[0, 0] for row in layer.hidden])
    torch.testing.assert_close(start, alone[tokens.targets].to(start))
