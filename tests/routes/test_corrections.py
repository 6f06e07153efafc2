"""The ratio corrections of itb rows."""

import copy

import pytest
import torch
from torch import Tensor

from architectures import ARCHITECTURES, build, example
from ligflow import Explainer


def attention_of(explainer: Explainer, inputs: dict[str, Tensor]) -> Tensor:
    """The weights that transformers itself returns, `[layer, head, target, source]`."""
    model = copy.deepcopy(explainer.model)
    model.set_attn_implementation("eager")
    with torch.no_grad():
        return torch.stack(model(**inputs, output_attentions=True).attentions)[:, 0]


def test_ratio_corrections_give_the_self_share_of_the_other_map() -> None:
    architecture = ARCHITECTURES["bert"]
    explainer = Explainer(build(architecture))
    inputs = example(architecture, 6)
    itb = explainer.explain(inputs, routes=("z2u", "z2z"))
    zero = explainer.explain(inputs, routes=("z2u", "z2z"), att_baseline="zero", layer_baseline="zero")
    ratio = explainer.explain(
        inputs, routes=("z2u", "z2z"), att_baseline="itb_zero_ratio", layer_baseline="itb_zero_ratio"
    )
    for route in ("z2u", "z2z"):
        ours, theirs = ratio.tensors[route], zero.tensors[route]
        torch.testing.assert_close(ours.sum(-1), itb.tensors[route].sum(-1), rtol=1e-4, atol=1e-5)
        share = ours.diagonal(dim1=-2, dim2=-1) / ours.sum(-1)
        expected = theirs.diagonal(dim1=-2, dim2=-1) / theirs.sum(-1)
        torch.testing.assert_close(share, expected, rtol=1e-4, atol=1e-5)
    by_map = explainer.explain(inputs, routes=("z2u",), att_baseline="itb_map_ratio")
    alpha = attention_of(explainer, inputs)
    share = by_map.z2u.diagonal(dim1=-2, dim2=-1) / by_map.z2u.sum(-1)
    torch.testing.assert_close(share, alpha.diagonal(dim1=-2, dim2=-1), rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("no_shape_checks")
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
