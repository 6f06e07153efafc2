"""Directions that float32 would lose."""

import pytest
import torch

from architectures import ARCHITECTURES, build, example
from ligflow import Explainer


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


@pytest.mark.usefixtures("no_shape_checks")
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
