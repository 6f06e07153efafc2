"""Real weights: MiniLM and Gemma-3-270M at default settings, and the zero baseline resolved."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from brute_force import by_captum
from ligflow import Explainer, Flow
from ligflow.explainer import embedded
from ligflow.layer.model_state import prepared
from ligflow.method import from_names
from ligflow.method.quadrature import Fixed
from ligflow.method.scalarization import L2
from ligflow.names import EMBEDDED_GEMMA as GEMMA
from ligflow.names import EMBEDDED_SMOLLM2 as SMOLLM2
from ligflow.paths.attention_path import attention_path
from ligflow.paths.batch import alone
from ligflow.routes.integration import attribute
from ligflow.routes.z2z import z2z_map

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_shape_checks")]

FORTY = (
    "When the river finally broke through the old stone wall, the farmers who had warned the council "
    "for years climbed onto their roofs and watched the water carry away their barns, fences and old carts."
)
EIGHTEEN = "The old lighthouse keeper counted the ships while the storm grew darker in the west tonight."


@pytest.fixture(scope="module")
def minilm() -> Explainer:
    return Explainer.from_pretrained()


@pytest.fixture(scope="module")
def gemma() -> Explainer:
    return Explainer.from_pretrained(GEMMA)


def assert_certified(flow: Flow) -> None:
    assert flow.unmet == []
    for route in flow.routes:
        assert flow.certificate(route).abs().max() <= 1e-3
        for name, tensor in flow.tensors.items():
            assert torch.isfinite(tensor.float()).all(), name


@pytest.mark.parametrize("baseline", ["itb", "zero", "mean"])
def test_minilm_is_certified_at_default_settings(minilm: Explainer, baseline: str) -> None:
    flow = minilm.explain(FORTY, att_baseline=baseline, layer_baseline=baseline, mlp_baseline="matched")
    assert len(flow.tokens) >= 40
    assert_certified(flow)
    torch.testing.assert_close(flow.total("z2z"), flow.total("u2z"), rtol=1e-4, atol=1e-4)
    players = flow.u2z.sum(dim=1) + flow.u2z_residual
    torch.testing.assert_close(flow.composed().sum(-1), players, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["embedded:minilm", GEMMA])
def test_attention_off_the_interface_gives_the_same(
    name: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    shared: Explainer = request.getfixturevalue("gemma" if name == GEMMA else "minilm")
    expected = shared.explain(EIGHTEEN, layers=[0, 5])
    explainer = Explainer.from_pretrained(name)
    off_the_interface(explainer.model, monkeypatch)
    for layer in explainer.prepared.record(EIGHTEEN)[:6:5]:
        assert (layer.mode, len(layer.forms)) == ("split", 1)
        assert layer.findings.closed_form is not None
    found = explainer.explain(EIGHTEEN, layers=[0, 5])
    for route in expected.routes:
        largest = expected.tensors[route].abs().amax(-1, keepdim=True)
        gap = (found.tensors[route] - expected.tensors[route]).abs() / largest.clamp(min=1e-3)
        assert gap.max() < 2e-3, route  # two times the tolerance: nodes may differ
    assert found.unmet == expected.unmet == []


def off_the_interface(model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gives every attention a table of implementations of its own, in which the interface's are not."""
    for kind in {type(module) for module in model.modules() if hasattr(module, "is_causal")}:
        own = kind.forward

        def alone(module: Any, *args: Any, own: Callable[..., Any] = own, **kwargs: Any) -> Any:
            return {"eager": own}[module.config._attn_implementation](module, *args, **kwargs)

        monkeypatch.setattr(kind, "forward", alone)


@pytest.mark.parametrize("baseline", ["zero", "itb"])
def test_captum_32_reproduces_captum_on_minilm(baseline: str) -> None:
    explainer = Explainer.from_pretrained(dtype=torch.float64)
    for layer in explainer.prepared.record("The storm broke the old wall.")[::5]:
        everyone = torch.arange(len(layer.hidden))
        start = from_names.layer_baseline(baseline).start(layer.hidden, everyone)
        with prepared(layer.module):
            ours = attribute(
                z2z_map(attention_path(alone(layer), start)), everyone, L2(), Fixed("captum:32")
            ).value[:, 0]
            for target in (0, 3, 8):
                first = start.vectors[target].expand_as(layer.hidden) if start.per_target else start.vectors
                torch.testing.assert_close(
                    ours[target], by_captum(layer, first, target), rtol=1e-6, atol=1e-6
                )


def test_gemma_is_certified_at_default_settings(gemma: Explainer) -> None:
    flow = gemma.explain(EIGHTEEN)
    assert len(flow.tokens) == 18
    assert flow.z2z.shape == (18, 18, 18)
    assert_certified(flow)
    assert flow.z2z.triu(1).abs().max() == 0
    assert float(flow.origin_mass("z2z").max()) < 1e-3


def test_zero_on_gemma_is_resolved_and_reported_as_mass_at_the_origin(gemma: Explainer) -> None:
    flow = gemma.explain(
        EIGHTEEN, layers=[0, 9, 17], att_baseline="zero", mlp_baseline="zero", layer_baseline="zero"
    )
    assert_certified(flow)
    assert float(flow.origin_mass("z2z").median()) > 0.1


def test_words_of_two_tokenizers_are_the_same(minilm: Explainer, gemma: Explainer) -> None:
    ours = minilm.explain(FORTY, routes=("u2z",), layers=[0]).merge_words().hide_special()
    theirs = gemma.explain(FORTY, routes=("u2z",), layers=[0]).merge_words().hide_special()
    assert ours.tokens == theirs.tokens


FRANCE = "The capital of France is"


@pytest.fixture(scope="module")
def smollm2() -> Explainer:
    return Explainer.from_pretrained(SMOLLM2)


@pytest.mark.parametrize(("name", "said"), [(SMOLLM2, " Paris"), (GEMMA, " the")])
def test_converted_models_say_what_their_files_say(
    name: str, said: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    explainer: Explainer = request.getfixturevalue("smollm2" if name == SMOLLM2 else "gemma")
    model = embedded._GGUF[name]
    file = model.file(embedded.package_folder(model.package, ""), tmp_path)
    direct: Any = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    inputs = explainer.whole.encode(FRANCE).inputs
    with torch.no_grad():
        logits = explainer.whole.now().placement.model(**inputs).logits
        torch.testing.assert_close(logits, direct.eval()(**inputs).logits, rtol=0, atol=1e-5)
    assert explainer.tokenizer.decode(logits[0, -1].argmax()) == said


def test_smollm2_reads_digits_one_by_one(smollm2: Explainer) -> None:
    assert smollm2.tokenizer.tokenize("in 1998") == ["in", "Ġ", "1", "9", "9", "8"]


def test_smollm2_answers_a_chat(smollm2: Explainer) -> None:
    chat = [{"role": "user", "content": f"Complete the sentence: {FRANCE}"}]
    labels = smollm2.explain(chat, layers=0, routes="z2z").tokens
    assert labels[:2] == ["<|im_start|>", "system"]
    assert labels[-3:] == ["ass", "istant", "Ċ"]
    inputs = smollm2.whole.encode(chat).inputs
    with torch.no_grad():
        logits = smollm2.whole.now().placement.model(**inputs).logits
    assert smollm2.tokenizer.decode(logits[0, -1].argmax()) == "The"


def test_smollm2_is_certified_at_default_settings(smollm2: Explainer) -> None:
    assert_certified(smollm2.explain(EIGHTEEN, layers=[0, 15, 29]))


def test_a_gguf_file_is_a_model_by_its_name(smollm2: Explainer) -> None:
    """It has a head, says that it was dequantised, and what the converted model says."""
    model = embedded._GGUF[SMOLLM2]
    file = model.file(embedded.package_folder(model.package, ""), Path())
    explainer = Explainer.from_pretrained(file)
    assert (explainer.name, explainer.whole.headless) == (str(file), "")
    inputs = smollm2.whole.encode(FRANCE).inputs
    with torch.no_grad():
        logits = explainer.whole.now().placement.model(**inputs).logits
        right = smollm2.whole.now().placement.model(**inputs).logits
    torch.testing.assert_close(logits, right, rtol=0, atol=1e-5)
    assert explainer.whole.notes == ("weights of a GGUF file, dequantised as it was loaded",)
