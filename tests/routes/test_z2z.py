"""z2z: its pullback against differences, and what can have no part in a target has none."""

import pytest
import torch

from architectures import ARCHITECTURES, example, shared
from brute_force import by_differences
from families import FAMILIES, layer_of
from ligflow.method import from_names
from ligflow.paths.batch import alone
from ligflow.routes.workspace import Workspace
from ligflow.routes.z2z import z2z_from


@pytest.mark.parametrize("name", FAMILIES)
def test_itb_has_no_self_term(name: str) -> None:
    flow = shared(ARCHITECTURES[name]).explain(example(ARCHITECTURES[name], 5), routes=("z2u", "z2z"))
    assert flow.z2u.diagonal(dim1=-2, dim2=-1).abs().max() == 0
    assert flow.z2z.diagonal(dim1=-2, dim2=-1).abs().max() == 0


@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.filterwarnings("ignore::ligflow.CompletenessWarning")
@pytest.mark.parametrize("name", [n for n, a in ARCHITECTURES.items() if a.causal])
def test_nothing_comes_from_the_future_in_a_causal_model(name: str) -> None:
    flow = shared(ARCHITECTURES[name]).explain(
        example(ARCHITECTURES[name], 5), routes=("z2u", "z2z"), quadrature="gauss-legendre:3",
        att_baseline="zero", layer_baseline="mean", tol=0.999,
    )  # fmt: skip
    assert flow.z2u.triu(1).abs().max() == 0
    assert flow.z2z.triu(1).abs().max() == 0


def test_nothing_comes_from_beyond_a_sliding_window() -> None:
    flow = shared(ARCHITECTURES["mistral"]).explain(example(ARCHITECTURES["mistral"], 9))
    beyond = torch.ones(9, 9, dtype=torch.bool).tril(-4)
    assert flow.z2z[:, beyond].abs().max() == 0
    assert flow.z2u[:, :, beyond].abs().max() == 0
    assert flow.z2z[:, torch.ones(9, 9, dtype=torch.bool).tril(-1) & ~beyond].abs().min() > 0


@pytest.mark.parametrize("baseline", ["itb", "zero", "mean"])
@pytest.mark.parametrize("name", FAMILIES)
def test_the_pullback_is_that_of_differences_through_the_layer(name: str, baseline: str) -> None:
    """For one scalar of `z'_j`, its change as each source alone moves, the unmodified layer being run."""
    node, target = torch.tensor([0.6], dtype=torch.float64), 4
    cotangent = torch.linspace(-1, 1, 32, dtype=torch.float64)
    for _, layer, place in layer_of(name):
        z, work = layer.hidden, Workspace(alone(layer), (place,))
        starts = {"itb": z[target].expand_as(z), "zero": torch.zeros_like(z), "mean": z.mean(0).expand_as(z)}
        start = starts[baseline]
        pullback = z2z_from(work, from_names.layer_baseline(baseline)).pullback
        integrands = pullback(node, torch.tensor([target]), cotangent.expand_as)
        expected = by_differences(
            lambda copies, layer=layer: layer.forward(copies)[:, target] @ cotangent[:, None],
            start + 0.6 * (z - start),
            z - start,
        )
        torch.testing.assert_close(integrands[0, 0], expected, rtol=1e-5, atol=1e-7)
