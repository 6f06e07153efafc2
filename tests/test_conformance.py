"""The checks that ship with the package: they pass on good models, and fail on a broken engine."""

import pytest
import torch

from architectures import ARCHITECTURES, WHOLE_ONLY, build, example
from ligflow import Explainer, LigflowError, own_start
from ligflow.conformance import check

pytestmark = pytest.mark.usefixtures("no_shape_checks")


@pytest.mark.parametrize("name", ["bert", "gemma3_text", "gpt_neox", "vit"])
def test_good_models_pass(name: str) -> None:
    checks = check(Explainer(build(ARCHITECTURES[name])))
    assert [one.name for one in checks if not one.passed] == []
    assert len(checks) == 8


def test_a_causal_model_is_recognised() -> None:
    verdicts = {one.name: one.measured for one in check(Explainer(build(ARCHITECTURES["llama"])))}
    assert verdicts["no attribution from the future"] == "0.0e+00"
    verdicts = {one.name: one.measured for one in check(Explainer(build(ARCHITECTURES["bert"])))}
    assert verdicts["no attribution from the future"] == "not causal"


def test_float64_is_held_to_a_tighter_limit() -> None:
    checks = check(Explainer(build(ARCHITECTURES["bert"], torch.float64)))
    assert all(one.passed for one in checks)
    assert next(one for one in checks if "itb" in one.name).limit == "1e-09"


def test_closed_forms_are_named() -> None:
    named = {name: check(Explainer(build(ARCHITECTURES[name])))[1] for name in ("bert", "gemma3_text")}
    assert {name: (one.measured, one.detail) for name, one in named.items()} == {
        "bert": ("2 of 2", "affine"),
        "gemma3_text": ("2 of 2", "norm, affine, norm, rotary"),
    }


def test_models_off_the_interface_are_checked_in_z2z() -> None:
    checks = check(Explainer(build(WHOLE_ONLY["gptj"])))
    assert all(one.passed for one in checks)
    assert checks[0].measured == "0 of 2"


def test_the_class_of_the_layers_is_named() -> None:
    assert check(Explainer(build(ARCHITECTURES["bert"])))[0].detail == "BertLayer"


def test_where_no_layer_can_be_split_nothing_is_said_to_be_compared() -> None:
    splits, forms, *checks = check(Explainer(build(WHOLE_ONLY["gptj"])))
    assert splits.detail.startswith("GPTJBlock; layer 0: its attention does not go through")
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
    weights = own_start.Block.weights

    def broken(block: own_start.Block) -> tuple[torch.Tensor, torch.Tensor]:
        p, slope = weights(block)
        return p, torch.full_like(slope, torch.nan)

    monkeypatch.setattr(own_start.Block, "weights", broken)
    checks = check(Explainer(build(ARCHITECTURES["bert"])))
    failed = [one.name for one in checks if not one.passed]
    assert failed[0] == "engine equals autograd, itb"
    assert "certificates, default settings" in failed


def test_an_engine_without_the_softmax_term_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = own_start.Block.weights

    def without(block: own_start.Block) -> tuple[torch.Tensor, torch.Tensor]:
        p, slope = weights(block)
        return p, torch.zeros_like(slope)

    monkeypatch.setattr(own_start.Block, "weights", without)
    failed = [one.name for one in check(Explainer(build(ARCHITECTURES["bert"]))) if not one.passed]
    assert "engine equals autograd, itb" in failed
    assert "certificates, default settings" in failed


def test_inputs_that_cannot_be_made_up_are_asked_for() -> None:
    explainer = Explainer(build(ARCHITECTURES["whisper"]))
    with pytest.raises(LigflowError, match=r"inputs=\[...\]"):
        check(explainer)
    assert all(one.passed for one in check(explainer, [example(ARCHITECTURES["whisper"])]))
