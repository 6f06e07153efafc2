"""What settings share of the work, and what they do not."""

import pytest
import torch
from torch import Tensor

from encoder_decoders import explainer_of, inputs_of

pytestmark = pytest.mark.usefixtures("no_shape_checks")


@pytest.mark.filterwarnings("ignore::ligflow.CompletenessWarning")
@pytest.mark.parametrize("name", ["t5", "bart"])
@pytest.mark.parametrize("routes", [("u2z",), ("z2z",), ("u2z", "z2z")])
def test_starts_of_the_encoder_are_told_apart_where_settings_share_a_computation(
    name: str, routes: tuple[str, ...]
) -> None:
    explainer, inputs = explainer_of(name), inputs_of(name, 3, 0, torch.float32)
    own = torch.linspace(-1, 1, explainer.prepared.record(inputs)[0].encoded.shape[1])
    starts: list[str | Tensor] = ["mean", "zero", own, "mean"]
    base = {"routes": routes, "mlp_baseline": "matched", "quadrature": "gauss-legendre:5", "tol": 0.9}
    variants = [base | {"encoder_baseline": start} for start in starts]
    together = explainer.explain_under(inputs, variants)
    alone = [explainer.explain(inputs, **variant) for variant in variants]
    for route in routes:
        first, second, *_ = (flow.total(route) for flow in alone)
        assert (first - second).abs().max() > 0.1
        for ours, theirs in zip(together, alone, strict=True):
            torch.testing.assert_close(ours.total(route), theirs.total(route), rtol=1e-5, atol=1e-6)
            torch.testing.assert_close(ours.tensors[route], theirs.tensors[route], rtol=1e-4, atol=1e-5)
