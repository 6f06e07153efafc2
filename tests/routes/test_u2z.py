"""u2z: its ends, and what composes with it."""

import pytest
import torch

from architectures import ARCHITECTURES, build, example
from families import FAMILIES
from ligflow import Explainer


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
