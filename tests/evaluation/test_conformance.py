"""The checks that ship with the package: they pass on good models, and fail on a broken engine."""

import re
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from architectures import ARCHITECTURES, WHOLE_ONLY, Architecture, build, example, shared
from ligflow import Explainer, LigflowError, UnsupportedModel
from ligflow.evaluation import conformance
from ligflow.evaluation.compared_maps import place_of_jump
from ligflow.evaluation.conformance import check
from ligflow.layer.interface import _attention
from ligflow.layer.layer import Layer
from ligflow.layer.model_state import prepared
from ligflow.paths import per_target
from ligflow.routes.attribution import Attribution
from ligflow.routes.path_map import PathMap
from ligflow.routes.workspace import Selection
from ligflow.settings import Settings
from sweep.made_up import runs
from sweep.verdicts import build as build_tiny

pytestmark = pytest.mark.usefixtures("no_shape_checks")


@pytest.mark.parametrize("name", ["bert", "gemma3_text", "gpt_neox", "vit"])
def test_good_models_pass(name: str) -> None:
    checks = check(shared(ARCHITECTURES[name]))
    assert [one.name for one in checks if not one.passed] == []
    assert len(checks) == 10


def test_a_causal_model_is_recognised() -> None:
    verdicts = {one.name: one.measured for one in check(shared(ARCHITECTURES["llama"]))}
    assert verdicts["no attribution from the future"] == "0.0e+00"
    verdicts = {one.name: one.measured for one in check(Explainer(build(ARCHITECTURES["bert"])))}
    assert verdicts["no attribution from the future"] == "not causal"


@pytest.mark.parametrize(("name", "causal"), [("llama", True), ("bert", False)])
def test_rounding_of_large_hidden_states_is_no_look_ahead(name: str, causal: bool) -> None:
    """A batch may be rounded otherwise than one; SmolLM2's hidden states reach 22,000."""
    explainer, large = Explainer(build(ARCHITECTURES[name])), torch.Generator().manual_seed(0)
    layer = explainer.prepared.record(example(ARCHITECTURES[name], 6))[0]

    def forward(hidden: Tensor) -> Tensor:
        out = 2e4 * layer.forward(hidden)
        return out + 3e-8 * out.norm(dim=-1, keepdim=True) * torch.randn(out.shape, generator=large)

    rounded, everyone = SimpleNamespace(hidden=layer.hidden, forward=forward), torch.arange(6)
    explainer.prepared.ready_for = lambda _: prepared(layer.module)  # type: ignore[assignment, misc]
    selection = Selection(everyone, everyone)
    assert conformance._sees_back(explainer, rounded, selection) is causal  # type: ignore[arg-type]


def test_float64_is_held_to_a_tighter_limit() -> None:
    checks = check(Explainer(build(ARCHITECTURES["bert"], torch.float64)))
    assert all(one.passed for one in checks)
    assert next(one for one in checks if "itb" in one.name).limit == "1e-09"


def test_closed_forms_are_named() -> None:
    named = {name: check(shared(ARCHITECTURES[name]))[1] for name in ("bert", "gemma3_text")}
    assert {name: (one.measured, one.detail) for name, one in named.items()} == {
        "bert": ("2 of 2", "affine"),
        "gemma3_text": ("2 of 2", "norm, affine, norm, rotary"),
    }


def test_models_off_the_interface_are_checked_in_z2z() -> None:
    checks = check(Explainer(build(WHOLE_ONLY["mamba"])))
    assert all(one.passed for one in checks)
    assert checks[0].measured == "0 of 2"


def test_the_class_of_the_layers_is_named() -> None:
    assert check(Explainer(build(ARCHITECTURES["bert"])))[0].detail == "BertLayer"


def test_layers_of_different_numbers_of_tokens_are_checked_each_with_its_own() -> None:
    sizes = {"embed_dim": 32, "depths": [2, 2], "num_heads": [4, 4], "window_size": 2, "patch_size": 4}
    explainer = Explainer(build(Architecture("SwinModel", sizes | {"image_size": 16})))
    checks = check(explainer)
    assert [one.name for one in checks if not one.passed] == []
    assert checks[0].detail == "SwinLayer; with 16, 4 tokens: explain layers of one number at a time"


def test_where_no_layer_can_be_split_nothing_is_said_to_be_compared() -> None:
    splits, forms, *checks = check(Explainer(build(WHOLE_ONLY["mamba"])))
    assert splits.detail.startswith("MambaBlock; layer 0: its attention neither goes through")
    engine = [one for one in checks if "engine" in one.name]
    assert len(engine) == 3
    for one in engine:
        assert (one.compared, one.measured) == (False, "nothing")
        assert "nothing of z2u and u2z was compared" in one.detail
    assert all(one.compared for one in checks if one not in engine)
    assert not splits.compared
    assert not forms.compared


@pytest.mark.parametrize("name", ["bert", "llama"])
def test_padding_is_left_out(name: str) -> None:
    inputs = example(ARCHITECTURES[name], 5, padding=2)
    checks = check(Explainer(build(ARCHITECTURES[name])), [inputs])
    assert [one.name for one in checks if not one.passed] == []
    assert checks[-1].measured == ("0.0e+00" if name == "llama" else "not causal")


def test_one_example_needs_no_list() -> None:
    explainer, inputs = Explainer(build(ARCHITECTURES["bert"])), example(ARCHITECTURES["bert"], 4)
    assert check(explainer, inputs) == check(explainer, [inputs])
    with pytest.raises(LigflowError, match="inputs are empty"):
        check(explainer, [])


def test_an_engine_that_gives_nan_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = per_target.PerTargetBlock.weights

    def broken(block: per_target.PerTargetBlock) -> tuple[torch.Tensor, torch.Tensor]:
        p, slope = weights(block)
        return p, torch.full_like(slope, torch.nan)

    monkeypatch.setattr(per_target.PerTargetBlock, "weights", broken)
    checks = check(Explainer(build(ARCHITECTURES["bert"])))
    failed = [one.name for one in checks if not one.passed]
    assert failed[0] == "engine equals autograd, itb"
    assert "certificates, default settings" in failed


def test_an_engine_without_the_softmax_term_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = per_target.PerTargetBlock.weights

    def without(block: per_target.PerTargetBlock) -> tuple[torch.Tensor, torch.Tensor]:
        p, slope = weights(block)
        return p, torch.zeros_like(slope)

    monkeypatch.setattr(per_target.PerTargetBlock, "weights", without)
    failed = [one.name for one in check(Explainer(build(ARCHITECTURES["bert"]))) if not one.passed]
    assert "engine equals autograd, itb" in failed
    assert "certificates, default settings" in failed


def test_inputs_that_cannot_be_made_up_are_asked_for() -> None:
    explainer = Explainer(build(ARCHITECTURES["whisper"]))
    with pytest.raises(LigflowError, match=r"inputs=\[...\]"):
        check(explainer)
    assert all(one.passed for one in check(explainer, [example(ARCHITECTURES["whisper"])]))


def test_a_model_that_hides_its_padding_is_not_causal() -> None:
    model = build_tiny("longformer")  # pads to its window: the last tokens are seen by none
    checks = check(Explainer(model), [{"input_ids": torch.arange(5, 11)[None]}])
    assert [one.name for one in checks if not one.passed] == []
    assert checks[-1].measured == "not causal"


def test_a_certificate_that_fails_says_where_the_layer_jumps() -> None:
    explainer = Explainer(build(ARCHITECTURES["mixtral"]))
    (failed,) = [one for one in check(explainer, example(ARCHITECTURES["mixtral"], 9)) if not one.passed]
    assert re.fullmatch(
        r"worst: (u2z|z2z), layer \d; it jumps at 0\.\d+ of the path of token \d", failed.detail
    )
    assert check(explainer, example(ARCHITECTURES["mixtral"], 9), experts="frozen")[-2].passed


@pytest.mark.parametrize(("height", "said"), [(2.0, "; it jumps at 0.300 of the path of token 4"), (0.0, "")])
def test_a_jump_is_found_where_it_is(height: float, said: str) -> None:
    def image(nodes: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return (5 * nodes.sin() + height * (nodes >= 0.3))[:, None, None, None]

    def pull(*_: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    assert place_of_jump(PathMap(image, pull, 1, 1), torch.tensor(4), 1e-3) == said


def test_layers_that_take_one_image_at_a_time_are_split() -> None:
    model = build_tiny("minimax_m3_vl_vision")
    inputs, _ = runs(model)
    explainer = Explainer(model)
    layers = explainer.prepared.record(inputs)
    assert [
        (one.findings.one_by_one, one.findings.reason, one.findings.no_closed_form) for one in layers
    ] == [(True, "", "it takes one example at a time")] * 2
    assert [one.name for one in check(explainer, inputs) if not one.passed] == []


def test_attention_that_is_not_over_one_list_of_tokens_is_refused() -> None:
    model = build_tiny("bert")
    _, module = next((name, one) for name, one in model.named_modules() if name.endswith("attention.self"))
    five = torch.zeros(1, 2, 4, 3, 8)
    with pytest.raises(UnsupportedModel, match=r"queries of shape \(1, 2, 4, 3, 8\), not \[1, heads, tokens"):
        _attention(module, five, five, five, None)


def test_cells_that_are_off_fail_though_their_sum_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """An adaptive rule that gives what one source is due to the next."""
    real = conformance.explain_layer

    def moved(layer: Layer, settings: Settings, tokens: Selection) -> dict[str, Attribution]:
        found = real(layer, settings, tokens)
        if settings.quadrature.name == "fine":
            return found
        return {route: replace(one, value=one.value.roll(1, dims=-1)) for route, one in found.items()}

    explainer = Explainer(build(ARCHITECTURES["bert"]))
    (right,) = [one for one in check(explainer) if one.name == "cells against a fine rule"]
    monkeypatch.setattr(conformance, "explain_layer", moved)
    (wrong,) = [one for one in check(explainer) if one.name == "cells against a fine rule"]
    assert right.passed
    assert " 0 of 105 over 1" in right.detail
    assert not wrong.passed
    assert float(wrong.measured) > 10


def test_a_model_that_draws_at_random_is_not_said_to_run_otherwise() -> None:
    """ViT-MAE hides patches at random, so that two runs of it differ."""
    from transformers import ViTMAEConfig, ViTMAEModel

    config = ViTMAEConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=16,
        patch_size=4,
    )  # fmt: skip
    pixels = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    checks = check(Explainer(ViTMAEModel(config).eval()), [{"pixel_values": pixels}])
    as_loaded = next(each for each in checks if each.name == "layers are as the model runs")
    assert as_loaded.passed
    assert not as_loaded.compared
    assert "draws at random" in as_loaded.detail
