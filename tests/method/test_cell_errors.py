"""Cells, not only sums: paths on which the sum of a row says nothing about its sources."""

import pytest
import torch
from torch import Tensor

from architectures import ARCHITECTURES, Architecture, build, example
from ligflow import Explainer
from ligflow.layer.model_state import prepared
from ligflow.method.baselines import Itb, Mean
from ligflow.method.fine_quadrature import fine
from ligflow.method.integral import Integral
from ligflow.method.quadrature import Adaptive, Fine, Fixed
from ligflow.method.scalarization import L2
from ligflow.routes import autograd
from ligflow.routes.explain_layer import explain_layer
from ligflow.routes.integration import attribute
from ligflow.routes.workspace import Selection
from ligflow.settings import ask

OPENAI = Architecture(
    "OpenAIGPTModel",
    {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 64, "n_positions": 40},
    causal=True,
)
TOL = 1e-3


def cells(found: Integral) -> list[float]:
    assert found.met.all()
    return found.value.flatten().tolist()


def flipped(at: float, size: float, nodes: Tensor) -> Tensor:
    """Two sources that turn around at once and cancel, but for `2a` in the first."""
    sign = torch.where(nodes < at, -size, size)
    return torch.stack([sign + 2 * nodes, -sign], dim=-1)[:, None, None]


@pytest.mark.parametrize("at", [0.002, 0.01, 0.015, 0.3, 0.4996, 0.5003, 0.77])
@pytest.mark.parametrize("size", [1.0, 4.0])
def test_sources_that_turn_around_together_are_right_though_their_sum_is_smooth(
    at: float, size: float
) -> None:
    """Wherever it is: before the first node, between the last nodes of neighbours, or inside."""
    total = torch.ones(1, 1, dtype=torch.float64)
    found = Adaptive().integrate(lambda a, j: flipped(at, size, a), total, total.clone())
    exact = size * (1 - 2 * at)
    assert cells(found) == pytest.approx([1 + exact, -exact], abs=TOL)


@pytest.mark.parametrize(
    ("name", "seed", "target", "head"),
    [("bert", 9, 0, 3), ("bert", 3, 1, 1), ("openai-gpt", 17, 1, 2), ("openai-gpt", 28, 1, 2)],
)
@pytest.mark.usefixtures("no_shape_checks")
def test_two_tokens_from_their_mean(name: str, seed: int, target: int, head: int) -> None:
    """The ends of both paths are mirror images: u leaves with slope 0, and its direction turns around once.

    The exact value is that of plain autograd, by the midpoint rule on 20,000 points.
    """
    architecture = ARCHITECTURES.get(name, OPENAI)
    explainer = Explainer(build(architecture, torch.float64, seed))
    layer = explainer.prepared.record(example(architecture, 2, 0, torch.float64))[0]
    place = Selection(torch.arange(2), torch.tensor([target]))
    settings = ask(routes=("z2u",), att_baseline="mean")
    with prepared(layer.module, layer.implementation):
        found = explain_layer(layer, settings, place)["z2u"]
        oracle = autograd.z2u(layer, Mean().start(layer.hidden, place.visible))
        exact = attribute(oracle, place.targets, L2(), Fixed("midpoint:20000"))
    off = (found.value - exact.value)[0, head].abs() / found.scale[0, head]
    assert found.met[0, head]
    assert exact.value[0, head].abs().sum() > 1.9 * found.scale[0, head]  # they cancel in the sum
    assert off.max() <= 1.5 * TOL


def test_switches_of_sharp_attention() -> None:
    """MiniLM with its queries times ten: a row that two rules agree on by luck."""
    explainer = Explainer.from_pretrained()
    with torch.no_grad():
        for name, parameter in explainer.model.named_parameters():
            if ".query." in name:
                parameter.mul_(10)
    layer = explainer.prepared.record(
        "The old lighthouse keeper counted the ships while the storm grew darker."
    )[1]
    place = Selection(torch.arange(len(layer.hidden)), torch.tensor([7, 9, 12]))
    with prepared(layer.module, layer.implementation):
        found = explain_layer(layer, ask(routes=("z2z",)), place)["z2z"]
        oracle = autograd.z2z(layer, Itb().start(layer.hidden, place.visible))
        exact = attribute(oracle, place.targets, L2(), Fixed("gauss-legendre:64"))
    off = ((found.value - exact.value).abs().sum(-1) / found.scale)[:, 0]
    assert found.met.all()
    assert (off <= 1.3 * TOL).all()


def test_the_fine_rule_finds_what_is_steep_jumps_or_hides_at_the_origin() -> None:
    """Each source moves by 1: evenly, by a kink's jump, within 1e-9 of the start, and in between."""

    def values(nodes: Tensor, targets: Tensor) -> Tensor:
        bump = torch.cosh((nodes - 0.71) / 1e-2) ** -2 / 2e-2
        start = 1e-18 / (nodes**2 + 1e-18) ** 1.5
        found = torch.stack([torch.ones_like(nodes), (nodes > 0.3).double() / 0.7, start, bump], dim=-1)
        return found[:, None, None].expand(-1, len(targets), 1, 4)

    total = torch.full((2, 1), 4.0, dtype=torch.float64)
    found = fine(values, total, total.clone(), TOL)
    torch.testing.assert_close(found.value, torch.ones(2, 1, 4, dtype=torch.float64), rtol=0, atol=1e-4)
    assert (found.error <= TOL * 4).all()
    assert cells(Fine().integrate(values, total, total.clone())) == pytest.approx([1.0] * 8, abs=1e-4)
