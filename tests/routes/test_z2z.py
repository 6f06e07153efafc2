"""z2z and z2u: what can have no part in a target has none."""

import pytest
import torch

from architectures import ARCHITECTURES, build, example
from families import FAMILIES
from ligflow import Explainer


@pytest.mark.parametrize("name", FAMILIES)
def test_itb_has_no_self_term(name: str) -> None:
    flow = Explainer(build(ARCHITECTURES[name])).explain(
        example(ARCHITECTURES[name], 5), routes=("z2u", "z2z")
    )
    assert flow.z2u.diagonal(dim1=-2, dim2=-1).abs().max() == 0
    assert flow.z2z.diagonal(dim1=-2, dim2=-1).abs().max() == 0


@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.filterwarnings("ignore::ligflow.CompletenessWarning")
@pytest.mark.parametrize("name", [n for n, a in ARCHITECTURES.items() if a.causal])
def test_nothing_comes_from_the_future_in_a_causal_model(name: str) -> None:
    flow = Explainer(build(ARCHITECTURES[name])).explain(
        example(ARCHITECTURES[name], 5), routes=("z2u", "z2z"), quadrature="gauss-legendre:3",
        att_baseline="zero", layer_baseline="mean", tol=0.999,
    )  # fmt: skip
    assert flow.z2u.triu(1).abs().max() == 0
    assert flow.z2z.triu(1).abs().max() == 0


def test_nothing_comes_from_beyond_a_sliding_window() -> None:
    flow = Explainer(build(ARCHITECTURES["mistral"])).explain(example(ARCHITECTURES["mistral"], 9))
    beyond = torch.ones(9, 9, dtype=torch.bool).tril(-4)
    assert flow.z2z[:, beyond].abs().max() == 0
    assert flow.z2u[:, :, beyond].abs().max() == 0
    assert flow.z2z[:, torch.ones(9, 9, dtype=torch.bool).tril(-1) & ~beyond].abs().min() > 0
