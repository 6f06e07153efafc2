"""e2u: its pullback against differences of the second attention, and its certificate."""

import pytest
import torch

from brute_force import by_differences
from encoder_decoders import explainer_of, inputs_of
from ligflow.layer.interface import plain
from ligflow.layer.model_state import prepared
from ligflow.method.baselines import Zero
from ligflow.paths.batch import alone
from ligflow.routes.e2u import e2u_from, explain_e2u
from ligflow.routes.workspace import Selection, Workspace
from ligflow.settings import ask


@pytest.mark.parametrize("name", ["bart", "t5"])
def test_the_pullback_is_that_of_differences(name: str) -> None:
    """As each of the encoder's tokens alone moves from 0; u is the second attention's own."""
    node, target = torch.tensor([0.7], dtype=torch.float64), 2
    layer = explainer_of(name, torch.float64).prepared.record(inputs_of(name, 4, 0, torch.float64))[1]
    memory, everyone = layer.encoded, torch.arange(4)
    work = Workspace(alone(layer), (Selection(everyone, everyone, torch.arange(len(memory))),))
    with prepared(layer.module, layer.implementation):
        route = e2u_from(work, Zero())
        integrands = route.pullback(node, torch.tensor([target]), torch.ones_like)
        expected = by_differences(
            lambda copies: plain(layer.capture_second(copies))[:, :, target].sum(-1), 0.7 * memory, memory
        )
        image = route.image(torch.ones(1, dtype=torch.float64), torch.tensor([target]))
        torch.testing.assert_close(image[0, 0], plain(layer.capture_second(memory[None]))[0, :, target])
    torch.testing.assert_close(integrands[0, 0], expected, rtol=1e-5, atol=1e-7)


def test_in_float32_it_is_integrated_in_float64_and_given_in_float32() -> None:
    settings = ask(encoder_baseline="mean", quadrature="gauss-legendre:24")
    single, double = (
        explainer_of("bart", dtype).prepared.record(inputs_of("bart", 4, 0, dtype))[1]
        for dtype in (torch.float32, torch.float64)
    )
    rows = []
    for layer in (single, double):
        everyone = torch.arange(4)
        work = Workspace(alone(layer), (Selection(everyone, everyone, torch.arange(7)),))
        with prepared(layer.module, layer.implementation):
            rows.append(explain_e2u(work, settings))
    ours, exact = rows
    assert ours.value.dtype == torch.float32
    gap = (ours.value - exact.value).abs().amax(-1) / exact.scale
    assert gap.max() < 1e-4
    assert ((exact.value.sum(-1) - exact.total).abs() <= 1e-6 * exact.scale).all()
