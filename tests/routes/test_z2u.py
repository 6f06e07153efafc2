"""z2u: its pullback against differences, and a head that is known by hand."""

import pytest
import torch

import hand_made
from brute_force import by_differences
from families import FAMILIES, layer_of
from ligflow import Explainer
from ligflow.method import from_names
from ligflow.method.baselines import Itb, Mean
from ligflow.paths.batch import alone
from ligflow.routes.workspace import Workspace
from ligflow.routes.z2u import z2u_as_integrated, z2u_from


@pytest.mark.parametrize("baseline", ["itb", "zero"])
@pytest.mark.parametrize("name", FAMILIES)
def test_the_pullback_is_that_of_differences(name: str, baseline: str) -> None:
    node, target = torch.tensor([0.4], dtype=torch.float64), 3
    for _, layer, place in layer_of(name):
        z, work = layer.hidden, Workspace(alone(layer), (place,))
        start = z[target].expand_as(z) if baseline == "itb" else torch.zeros_like(z)
        integrands = z2u_from(work, from_names.layer_baseline(baseline)).pullback(
            node, torch.tensor([target]), torch.ones_like
        )
        expected = by_differences(
            lambda copies, layer=layer: layer.attend(copies)[:, target].sum(-1),
            start + 0.4 * (z - start),
            z - start,
        )
        torch.testing.assert_close(integrands[0, 0], expected, rtol=1e-5, atol=1e-7)


def test_a_head_that_averages_gives_each_source_its_projection() -> None:
    """`u_j(a) - u_j(0) = a (mean_k z_k - z_j)` is straight, so that `IG_kj = (z_k - z_j) . d / T`."""
    explainer = Explainer(hand_made.build())
    flow = explainer.explain({"input_ids": torch.tensor([[3, 7, 11, 19]])}, routes="z2u", layers=0)
    z = explainer.prepared.record({"input_ids": torch.tensor([[3, 7, 11, 19]])})[0].hidden
    for head, part in enumerate(z.unflatten(-1, (2, 3)).unbind(1)):
        step = part - part[:, None]  # [target, source, 3]
        direction = torch.nn.functional.normalize(step.mean(1), dim=-1)
        torch.testing.assert_close(
            flow.z2u[0, head], (step @ direction[..., None])[..., 0] / 4, rtol=1e-5, atol=1e-6
        )


def test_a_map_that_starts_flat_is_integrated_in_float64() -> None:
    for _, layer, place in layer_of("bert", torch.float32):
        work = Workspace(alone(layer), (place,))
        end = torch.ones(1, dtype=torch.float32)
        for baseline, dtype in ((Mean(), torch.float64), (Itb(), torch.float32)):
            assert z2u_as_integrated(work, baseline).image(end, place.targets).dtype == dtype
