"""The engine against brute-force autograd through the unmodified layer, family by family."""

import pytest
import torch

from architectures import ARCHITECTURES, WHOLE_ONLY, build, example
from brute_force import by_captum, fine_rule, integrate, pairs
from ligflow import Explainer
from ligflow.evaluation.tested_models import SPLIT, WHOLE
from ligflow.layer.model_state import prepared
from ligflow.method.baselines import Itb, Zero
from ligflow.method.quadrature import Fixed
from ligflow.method.scalarization import L2
from ligflow.recording.model_runs import OFF_INTERFACE
from ligflow.routes import autograd
from ligflow.routes.explain_layer import explain_layer
from ligflow.routes.integration import attribute
from ligflow.settings import ask
from recorded_layers import CASES, recorded

BASELINES = ("itb", "zero", "mean")


LIMIT = {torch.float32: 1e-4, torch.float64: 1e-9}
RULE, BUDGET = Fixed("gauss-legendre:3"), 2**28  # bytes: to ask what is free takes a tenth of an integral


@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize(("name", "tokens", "padding"), CASES)
def test_engine_equals_autograd_at_the_same_nodes(
    name: str, tokens: int, padding: int, dtype: torch.dtype
) -> None:
    for _, layer, place in recorded(ARCHITECTURES[name], dtype, tokens, padding):
        assert layer.mode != "whole"
        for baseline in BASELINES:
            for route, engine, oracle in pairs(layer, baseline, place):
                ours = attribute(engine, place.targets, L2(), RULE, memory_budget=BUDGET)
                theirs = attribute(oracle, place.targets, L2(), RULE, memory_budget=BUDGET)
                gap = (ours.value - theirs.value).abs().amax(-1)
                floor = theirs.floor * (torch.finfo(dtype).eps / torch.finfo(theirs.floor.dtype).eps)
                rounding = floor / 100  # ten machine epsilons of the layer's own size
                allowed = (LIMIT[dtype] * ours.scale).clamp(min=rounding)
                assert (gap <= allowed).all(), f"{route} {baseline} layer {layer.index}"
                torch.testing.assert_close(ours.total, theirs.total, rtol=1e-4, atol=float(floor.max()))


@pytest.mark.slow
@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.parametrize("baseline", BASELINES)
@pytest.mark.parametrize("name", [n for n, a in ARCHITECTURES.items() if not a.experts])
def test_adaptive_result_is_within_twice_the_tolerance_of_the_exact_one(name: str, baseline: str) -> None:
    """ReLU kinks in MLPs as narrow as these can hide from nested rules: for them, four times."""
    settings = ask(att_baseline=baseline, mlp_baseline="matched", layer_baseline=baseline)
    kinks = name in ("opt", "t5")
    rule = fine_rule(baseline == "zero", kinks)
    exact = [
        {route: integrate(oracle, place, rule) for route, _, oracle in pairs(layer, baseline, place)}
        for _, layer, place in recorded(ARCHITECTURES[name], torch.float64, 6, 0)
    ]
    for _, layer, place in recorded(ARCHITECTURES[name], torch.float32, 6, 0):
        for route, ours in explain_layer(layer, settings, place).items():
            assert ours.met.all(), f"{route} layer {layer.index}"
            gap = ((ours.value - exact[layer.index][route]).abs().amax(-1) / ours.scale).max()
            assert gap <= (4 if kinks else 2) * settings.tol, f"{route} layer {layer.index}"


@pytest.mark.parametrize("name", WHOLE_ONLY)
def test_models_off_the_interface_are_certified_in_z2z(name: str) -> None:
    for _, layer, place in recorded(WHOLE_ONLY[name], torch.float32, 5, 0):
        assert layer.findings.reason == OFF_INTERFACE
        found = attribute(autograd.z2z(layer, Itb().start(layer.hidden, place.visible)), place.targets, L2())
        assert found.met.all()
        assert ((found.value.sum(-1) - found.total).abs() <= 1e-3 * found.scale).all()


def test_the_list_of_known_models_is_what_is_tested() -> None:
    assert set(SPLIT) == {*ARCHITECTURES, "deberta-v2"}
    assert set(WHOLE) == set(WHOLE_ONLY)


def test_direct_z2z_serves_models_off_the_interface() -> None:
    from architectures import WHOLE_ONLY

    explainer = Explainer(build(WHOLE_ONLY["longformer"], torch.float64))
    for layer in explainer.prepared.record(example(WHOLE_ONLY["longformer"], 5)):
        with prepared(layer.module, layer.implementation):
            visible = torch.arange(5)
            start = Zero().start(layer.hidden, visible)
            found = attribute(autograd.z2z(layer, start), visible, L2(), Fixed("captum:16")).value[:, 0]
            torch.testing.assert_close(found[3], by_captum(layer, start.vectors, 3, 16), rtol=1e-6, atol=1e-6)
