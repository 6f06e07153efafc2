"""The methods compared, each against its own definition written out."""

import pytest
import torch

from architectures import ARCHITECTURES, build, example
from ligflow import Explainer
from ligflow.evaluation.other_methods import (
    NAMED,
    START_AT,
    gradient_times_input,
    lig,
    nearness,
    random,
    rivals,
    seen_by,
    shares_start,
    value_zeroing,
)
from ligflow.routes.workspace import Selection
from recorded_layers import CASES, recorded, recorded_alone, shares

NOT_THROUGH_MLP = (  # beside attention, with experts, with matrices joined, or scaled behind
    "cohere", "dinov2", "falcon", "gpt_neox", "gpt_oss", "gptj", "mixtral", "modernbert", "olmoe", "phi3",
    "qwen3_moe",
)  # fmt: skip
FAMILIES = ("bert", "llama", "gpt2", "gemma2", "t5", "gpt_oss", "gpt_neox")


@pytest.mark.parametrize("name", FAMILIES)
def test_value_zeroing(name: str) -> None:
    for layer, place in recorded_alone(name):
        p, value = shares(layer)
        expected = torch.zeros(6, 6, dtype=torch.float64)
        for k in range(6):
            without = value.clone()
            without[:, k] = 0
            u = (p @ without).transpose(0, 1)[None]
            image = layer.finish(layer.hidden[None], u)[0]
            expected[:, k] = 1 - torch.cosine_similarity(image, layer.output, dim=-1)
        torch.testing.assert_close(value_zeroing(layer, place), expected, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("name", FAMILIES)
def test_gradient_times_input(name: str) -> None:
    for layer, place in recorded_alone(name):
        found = gradient_times_input(layer, place)
        for target in range(6):
            hidden = layer.hidden.clone().requires_grad_()
            layer.forward(hidden[None])[0, target].norm().backward()
            assert hidden.grad is not None
            expected = (hidden.grad * layer.hidden).sum(-1)
            torch.testing.assert_close(found[target], expected, rtol=1e-7, atol=1e-9)


# --- LIG, controls, and all of them ---------------------------------------------------------------


def test_lig_is_that_of_explain() -> None:
    model = build(ARCHITECTURES["bert"])
    explainer = Explainer(model)
    inputs = example(ARCHITECTURES["bert"], 7)
    layer = explainer.prepared.record(inputs)[1]
    place = Selection(torch.arange(7), torch.arange(7))
    mean = torch.full((32,), 0.1)
    with explainer.prepared.ready_for(layer):
        maps, unmet = lig(layer, place, mean)
    assert unmet == 0
    flows = {
        "itb": explainer.explain(inputs, layers=[1]),
        "zero": explainer.explain(
            inputs, layers=[1], att_baseline="zero", mlp_baseline="matched", layer_baseline="zero"
        ),
        "mean": explainer.explain(
            inputs, layers=[1], att_baseline=mean, mlp_baseline="matched", layer_baseline=mean
        ),
    }
    for name, flow in flows.items():
        torch.testing.assert_close(maps[f"LIG direct {name}"], flow.z2z[0], rtol=1e-5, atol=1e-6)
    for pair, name in {"itb / att_itb_a0": "itb", "zero / matched": "zero", "mean / matched": "mean"}.items():
        for rule in ("conserving", "product"):
            expected = flows[name].composed(rule)[0]
            torch.testing.assert_close(maps[f"LIG {pair}, {rule}"], expected, rtol=1e-4, atol=1e-5)
    along = explainer.explain(inputs, layers=[1], scalarization="projection")
    torch.testing.assert_close(maps["LIG direct itb, projection"], along.z2z[0], rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.parametrize(("name", "tokens", "padding"), [case for case in CASES if case[1] == 9])
def test_every_family_has_every_method(name: str, tokens: int, padding: int) -> None:
    for _, layer, place in recorded(ARCHITECTURES[name], torch.float32, tokens, padding):
        count = len(place.visible)
        maps = rivals(layer, place)
        assert len(maps) == (10 if name in NOT_THROUGH_MLP else 12)
        for method, found in maps.items():
            assert found.shape == (count, count), method
            assert torch.isfinite(found).all(), method


def test_methods_that_start_where_a_removed_source_is_put() -> None:
    assert shares_start("LIG direct itb, projection", "target")
    assert shares_start("LIG itb / att_itb_a0, product", "target")
    assert shares_start("LIG zero / matched, product", "zero")
    assert not any(shares_start(NAMED, replacement) for replacement in ("zero", "mean"))
    assert not any(shares_start("raw attention", replacement) for replacement in START_AT)


def test_causal_targets_see_no_later_source() -> None:
    for layer, place in recorded_alone("llama"):
        assert seen_by(layer, place).tolist() == torch.ones(6, 6).tril().bool().tolist()
    for layer, place in recorded_alone("bert"):
        assert seen_by(layer, place).all()


def test_controls() -> None:
    place = Selection(torch.arange(4), torch.tensor([1]))
    assert nearness(place)[0].tolist() == pytest.approx([1 / 2, 1, 1 / 2, 1 / 3])
    assert torch.equal(random(place, 3), random(place, 3))
    assert not torch.equal(random(place, 3), random(place, 4))
