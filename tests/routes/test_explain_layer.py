"""What settings share, what they do not, and what a corrected row says of its errors."""

import pytest
import torch
from torch import Tensor

from architectures import ARCHITECTURES, build, example
from layer.test_layer_cross_attention import explainer_of, inputs_of
from ligflow import Explainer

pytestmark = pytest.mark.usefixtures("no_shape_checks")


@pytest.mark.filterwarnings("ignore::ligflow.CompletenessWarning")
@pytest.mark.parametrize("route", ["z2u", "z2z"])
def test_a_ratio_has_the_errors_of_both_rows_that_it_is_made_of(route: str) -> None:
    """With seven points many rows are not met: those of `zero` all, those of `itb` in part."""
    explainer, inputs = Explainer(build(ARCHITECTURES["llama"])), example(ARCHITECTURES["llama"], 6)
    itb, zero, ratio = (
        explainer.explain(inputs, routes=route, layer_baseline=name, att_baseline=name, max_nodes=7)
        for name in ("itb", "zero", "itb_zero_ratio")
    )
    met, of_itb, of_zero = (flow.tensors[f"{route}.met"] for flow in (ratio, itb, zero))
    assert not of_zero.all()
    assert (of_itb & ~of_zero).any()
    assert torch.equal(met, of_itb & of_zero)
    expected = itb.estimated_error(route) + zero.estimated_error(route)
    torch.testing.assert_close(ratio.estimated_error(route), expected, rtol=1e-5, atol=1e-7)
    assert torch.equal(ratio.nodes(route), itb.nodes(route) + zero.nodes(route))
    torch.testing.assert_close(ratio.origin_mass(route), zero.origin_mass(route), rtol=1e-5, atol=1e-9)


def peaked(dtype: torch.dtype) -> Explainer:
    """A head that attends almost to the target alone at both ends of its path, and not on the way."""
    model = build(ARCHITECTURES["bert"], dtype)
    for layer in model.encoder.layer:
        own = layer.attention.self
        with torch.no_grad():
            for part in (own.query, own.key):
                part.weight[:8], part.bias[:8] = 0, 0
                part.weight[:8, :8] = 5 * torch.eye(8, dtype=dtype)
    return Explainer(model)


@pytest.mark.filterwarnings("ignore::ligflow.CompletenessWarning")  # of another target, asked for too much
def test_one_head_that_comes_back_is_enough_for_the_finer_numbers() -> None:
    inputs = example(ARCHITECTURES["bert"], 6)
    found = peaked(torch.float32).explain(inputs, routes="z2u", layers=0)
    exact = peaked(torch.float64).explain(inputs, routes="z2u", layers=0, tol=1e-5)
    total = exact.total("z2u")[0, 0, 3]
    assert float(total) == pytest.approx(1.429e-5, rel=1e-3)  # beside 4.3 of other targets
    assert exact.z2u[0, 0, 3].abs().sum() > 2000 * total
    assert found.unmet == []
    assert float(found.total("z2u")[0, 0, 3]) == pytest.approx(float(total), rel=1e-3)
    torch.testing.assert_close(found.z2u[0, 0, 3].double(), exact.z2u[0, 0, 3], rtol=1e-4, atol=1e-8)


@pytest.mark.filterwarnings("ignore::ligflow.CompletenessWarning")
@pytest.mark.parametrize("name", ["t5", "bart"])
@pytest.mark.parametrize("routes", [("u2z",), ("z2z",), ("u2z", "z2z")])
def test_starts_of_the_encoder_are_told_apart_where_settings_share_a_computation(
    name: str, routes: tuple[str, ...]
) -> None:
    explainer, inputs = explainer_of(name), inputs_of(name, 3, 0, torch.float32)
    own = torch.linspace(-1, 1, explainer.record(inputs)[0].encoded.shape[1])
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
