"""The whole model beside the part of it that flows are taken of."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import BartForConditionalGeneration, GPT2LMHeadModel

from architectures import ARCHITECTURES, build, example
from ligflow import Explainer

BOTH = {"input_ids": torch.tensor([[5, 6, 7, 2]]), "decoder_input_ids": torch.tensor([[2, 8, 9]])}


def model_of(kind: Any, name: str, dtype: torch.dtype = torch.float32) -> Any:
    torch.manual_seed(0)
    return kind(build(ARCHITECTURES[name]).config).to(dtype).eval()


def bart(dtype: torch.dtype = torch.float32) -> Any:
    return model_of(BartForConditionalGeneration, "bart", dtype)


def logits(explainer: Explainer, inputs: dict[str, Tensor] = BOTH) -> Tensor:
    with torch.no_grad():
        result: Tensor = explainer.whole.now().placement.model(**inputs).logits
    return result


def places(model: Any) -> set[int]:
    return {weight.data_ptr() for weight in model.parameters()}


def test_a_model_that_is_run_whole_is_the_whole() -> None:
    model = model_of(GPT2LMHeadModel, "gpt2")
    explainer = Explainer(model)
    assert explainer.whole is explainer.prepared
    assert explainer.model is model


@pytest.mark.parametrize("stack", [None, "decoder"])
def test_of_an_encoder_decoder_it_has_both(stack: str | None) -> None:
    model = bart()
    explainer = Explainer(model, stack=stack)
    whole = explainer.whole
    assert whole is explainer.whole
    assert whole.model is model
    assert (whole.stack, whole.decodes) == (None, True)
    with torch.no_grad():
        assert torch.equal(logits(explainer), model(**BOTH).logits)


@pytest.mark.parametrize("stack", [None, "decoder"])
def test_copies_of_short_weights_are_made_once(stack: str | None) -> None:
    model = bart(torch.bfloat16)
    explainer = Explainer(model, stack=stack)
    assert explainer.whole.model.dtype == torch.float32
    assert places(explainer.prepared.model) <= places(explainer.whole.model)
    with torch.no_grad():
        torch.testing.assert_close(logits(explainer), model.float()(**BOTH).logits)


def test_a_prediction_says_that_short_weights_were_widened() -> None:
    model = model_of(GPT2LMHeadModel, "gpt2", torch.bfloat16)
    inputs = example(ARCHITECTURES["gpt2"], 4)
    prediction = Explainer(model).explain_prediction(inputs, answer=3, reference=torch.full((4,), 5))
    assert "weights in bfloat16, integrated in a float32 copy" in prediction.meta["notes"]
    prediction = Explainer(model.float()).explain_prediction(inputs, answer=3, reference=torch.full((4,), 5))
    assert not any("weights" in note for note in prediction.meta["notes"])


def test_weights_on_disk_are_written_once(tmp_path: Path) -> None:
    model = bart()
    explainer = Explainer(model, device="cpu", streamed=True, offload_folder=tmp_path)
    written = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert places(explainer.prepared.model) <= places(explainer.whole.model)
    assert written == {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir() if path.is_file()}
    with explainer.whole.now().placement.running(), torch.no_grad():
        torch.testing.assert_close(logits(explainer), model(**BOTH).logits)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("part", ["model.encoder", "model.decoder"])
def test_it_says_what_the_model_says_now(dtype: torch.dtype, part: str) -> None:
    model = bart(dtype)
    explainer = Explainer(model)
    before = logits(explainer)
    with torch.no_grad():
        for parameter in model.get_submodule(part).parameters():
            parameter.mul_(1.5)
    late = logits(explainer)
    assert not torch.allclose(before, late, atol=1e-3)
    with torch.no_grad():
        torch.testing.assert_close(late, logits(Explainer(model)))
    assert places(explainer.prepared.model) <= places(explainer.whole.model)


def test_weights_written_into_the_loaded_model_are_the_wholes(tmp_path: Path) -> None:
    model_of(GPT2LMHeadModel, "gpt2").save_pretrained(tmp_path)
    explainer, inputs = Explainer.from_pretrained(tmp_path), example(ARCHITECTURES["gpt2"], 4)
    before = logits(explainer, inputs)
    with torch.no_grad():
        explainer.model.get_parameter("h.0.mlp.c_fc.weight").mul_(3)
    late = logits(explainer, inputs)
    assert not torch.allclose(before, late, atol=1e-4)
    with torch.no_grad():
        plain = explainer.whole.model(**inputs).logits
    torch.testing.assert_close(late, plain)
