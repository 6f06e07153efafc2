"""u2z: its pullback against differences, its ends, and what composes with it."""

import pytest
import torch

from architectures import ARCHITECTURES, build, example, shared
from brute_force import by_differences
from families import FAMILIES, layer_of
from ligflow import Explainer
from ligflow.layer.layer import Layer
from ligflow.paths.batch import alone
from ligflow.routes.players import players_of
from ligflow.routes.u2z import u2z_map
from ligflow.routes.workspace import Workspace
from ligflow.settings import ask


@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("att_baseline", ["itb", "zero", "mean"])
def test_matched_ends_and_sums_of_both_compositions(name: str, att_baseline: str) -> None:
    """z2z and u2z have equal totals, target by target, and the conserving map shares out exactly them."""
    explainer = shared(ARCHITECTURES[name], torch.float64)
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


@pytest.mark.parametrize("att_baseline", ["itb", "mean"])
@pytest.mark.parametrize("name", FAMILIES)
def test_the_pullback_is_that_of_differences(name: str, att_baseline: str) -> None:
    """Heads and residual of one target move alone to their ends; the layer's other tokens stay."""
    node, target = torch.tensor([0.3], dtype=torch.float64), 2
    cotangent = torch.linspace(-1, 1, 32, dtype=torch.float64)
    for _, layer, place in layer_of(name):
        work = Workspace(alone(layer), (place,))
        settings = ask(att_baseline=att_baseline, mlp_baseline="matched")
        players = players_of(work, settings)
        assert (players.residual_start is None) == (att_baseline == "itb")
        integrands = u2z_map(work.batch, players).pullback(node, torch.tensor([target]), cotangent.expand_as)
        u_start, u_end = players.start[target], players.end[target]
        z = layer.hidden[target]
        z_start = z if players.residual_start is None else players.residual_start[target]
        heads, dim = u_end.shape

        def scalar(moved: torch.Tensor, layer: Layer = layer, heads: int = heads) -> torch.Tensor:
            """Of copies of `[head, dim]` with the residual as so many heads below."""
            whole = layer.hidden.repeat(len(moved), 1, 1)
            whole[:, target] = moved[:, heads:].flatten(1)
            u = layer.attend(layer.hidden[None]).repeat(len(moved), 1, 1, 1)
            u[:, target] = moved[:, :heads]
            return layer.finish(whole, u)[:, target] @ cotangent[:, None]

        first, last = (torch.cat([u, own.reshape(-1, dim)]) for u, own in ((u_start, z_start), (u_end, z)))
        expected = by_differences(scalar, first + 0.3 * (last - first), last - first)[0]
        torch.testing.assert_close(integrands[0, 0, 0, :heads], expected[:heads], rtol=1e-5, atol=1e-7)
        torch.testing.assert_close(integrands[0, 0, 0, heads], expected[heads:].sum(), rtol=1e-5, atol=1e-7)
