"""The ratio corrections of itb rows."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from architectures import ARCHITECTURES, build, example
from families import layer_of
from ligflow import Explainer, UnsupportedModel
from ligflow.method.baselines import Itb, Mean, Vectors, Zero
from ligflow.method.ratio_corrections import ItbMapRatio, ItbZeroRatio
from ligflow.paths.batch import alone
from ligflow.routes.attribution import Attribution, of_each
from ligflow.routes.corrections import model_attention, with_correction
from ligflow.routes.workspace import Selection, Workspace


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


def written(value: list[float], target: float) -> Attribution:
    """The row of one target with one scalar; every number about it is `target`."""
    number = torch.tensor([[target]], dtype=torch.float32)
    return Attribution(
        torch.tensor([[value]], dtype=torch.float32),
        number,
        number,
        number,
        number,
        number > 0,
        torch.tensor([2]),
        number,
    )


def test_a_zero_row_gives_its_self_share_and_its_errors() -> None:
    """Of target 1: `zero` gives it 6 of 8, so that of the itb row of 4 it takes 3; the sum stays."""
    layer = next(layer for _, layer, _ in layer_of("bert", torch.float32))
    work = Workspace(alone(layer), (Selection(torch.arange(6), torch.tensor([1])),))
    rows = {Itb(): written([1, 0, 3, 0, 0, 0], 0.5), Zero(): written([1, 6, 1, 0, 0, 0], -0.25)}
    ratio = with_correction(rows.__getitem__, ItbZeroRatio(), work)
    assert ratio.value.flatten().tolist() == [0.25, 3, 0.75, 0, 0, 0]
    assert (float(ratio.error), float(ratio.origin), float(ratio.total)) == (0.25, -0.25, 0.5)
    assert (bool(ratio.met), int(ratio.nodes)) == (False, 4)
    assert ratio.flipped is not None
    assert not ratio.flipped.any()
    over = rows | {Zero(): written([-2, 6, 0, 0, 0, 0], 1)}
    flipped = with_correction(over.__getitem__, ItbZeroRatio(), work)
    assert flipped.flipped is not None
    assert flipped.flipped.all()
    assert flipped.value.flatten().tolist() == [-0.5, 6, -1.5, 0, 0, 0]
    assert with_correction(rows.__getitem__, Zero(), work) is rows[Zero()]


def test_a_map_row_takes_the_models_own_attention() -> None:
    for _, layer, _ in layer_of("llama", torch.float32):
        work = Workspace(alone(layer), (Selection(torch.arange(6), torch.tensor([2])),))
        alpha = float(model_attention(layer, torch.tensor([2]))[0, 0, 2])
        one_head = written([2, 3, 0, 0, 0, 0], 1)
        rows = {
            Itb(): of_each(one_head, lambda part: part if part.ndim == 1 else part.repeat_interleave(4, 1))
        }
        ratio = with_correction(rows.__getitem__, ItbMapRatio(), work)
        expected = [2 * (1 - alpha), 3 * (1 - alpha), 5 * alpha, 0, 0, 0]
        assert ratio.value[0, 0].tolist() == pytest.approx(expected, rel=1e-5)


def test_what_is_corrected_is_itb() -> None:
    baselines = (ItbZeroRatio(), ItbMapRatio(), Itb(), Zero(), Mean())
    assert [baseline.path for baseline in baselines] == [Itb(), Itb(), Itb(), Zero(), Mean()]
    vectors = Vectors(torch.zeros(3))
    assert vectors.path is vectors


def test_a_layer_without_weights_from_token_to_token_has_none_to_show() -> None:
    for _, layer, place in layer_of("bert", torch.float32):
        several = replace(layer, calls=(2, 2))
        with pytest.raises(UnsupportedModel, match="Layer 1 has no attention weights from token to token"):
            model_attention(several, place.targets)
