"""`attribute_layer` and `Explainer` beside tools that hook, wrap or patch a model."""

import copy
import re
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import GPT2LMHeadModel

from architectures import ARCHITECTURES
from ligflow import Explainer, Flow, LigflowError, UnsupportedModel, attribute_layer

ROUTES = ("z2u", "u2z", "z2z")
PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "pipelines.md"
GPT2 = ARCHITECTURES["gpt2"]


def assert_same(found: Flow, expected: Flow, row: int) -> None:
    """One layer of a flow to float32 rounding, relative to the largest cell; integrals share their nodes."""
    for route in found.routes:
        for name in [route, f"{route}.total"]:
            ours, theirs = found.tensors[name][0], expected.tensors[name][row]
            assert (ours - theirs).abs().max() <= 2e-5 * theirs.abs().max(), name
        assert found.certificate(route).abs().max() <= expected.certificate(route)[row].abs().max() + 1e-5


def decoder() -> GPT2LMHeadModel:
    torch.manual_seed(0)
    config = GPT2LMHeadModel.config_class(**GPT2.config)
    return GPT2LMHeadModel(config).eval()


IDS = {"input_ids": torch.tensor([[5, 9, 11, 3, 7]])}


@pytest.mark.usefixtures("no_shape_checks")
def test_nnsight_wraps_a_model_that_can_be_explained() -> None:
    from nnsight import NNsight

    model = decoder()
    expected = Explainer(model).explain(IDS)
    wrapped = NNsight(model)
    with pytest.raises(LigflowError, match=r"not NNsight; pass the model that it wraps: model\._module"):
        Explainer(wrapped)  # type: ignore[arg-type]
    found = Explainer(wrapped._module).explain(IDS)
    assert all(torch.equal(found.tensors[name], tensor) for name, tensor in expected.tensors.items())
    with wrapped.trace(**IDS, use_cache=False):
        call = wrapped.transformer.h[1].inputs.save()
    args, kwargs = call
    assert_same(attribute_layer(wrapped.transformer.h[1]._module, *args, **kwargs), expected, 1)


@pytest.mark.usefixtures("no_shape_checks")
def test_an_intervention_before_the_layer_is_in_the_flow() -> None:
    from nnsight import NNsight

    wrapped = NNsight(decoder())
    with wrapped.trace(**IDS, use_cache=False):
        wrapped.transformer.h[0].output[:, 2] = 0
        call = wrapped.transformer.h[1].inputs.save()
    args, kwargs = call
    assert args[0][0, 2].abs().max() == 0
    flow = attribute_layer(wrapped.transformer.h[1]._module, *args, **kwargs, layer_baseline="zero")
    assert flow.z2z[0, 3:, 2].abs().max() == 0  # from zero to zero: the token does not move


@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("no_shape_checks")
def test_a_bridge_of_transformer_lens_cannot_be_explained_and_its_activations_can(tmp_path: Path) -> None:
    from transformer_lens.model_bridge import TransformerBridge

    from ligflow.explainer import pretrained

    tokenizer = pretrained.load()[1]
    plain = decoder()
    plain.set_attn_implementation("sdpa")
    plain.save_pretrained(tmp_path)
    expected = Explainer(plain).explain(IDS)
    bridge = TransformerBridge.boot_transformers(
        str(tmp_path), hf_model=copy.deepcopy(plain), tokenizer=tokenizer
    )
    with pytest.raises(LigflowError, match="put its own attention into the model, so pass a copy"):
        Explainer(bridge)
    for routes in (ROUTES, "z2z"):
        with pytest.raises(
            UnsupportedModel, match=r"unnamed positional arguments.* a wrapper around the layer"
        ):
            Explainer(bridge.original_model).explain(IDS, routes=routes)
    _, cache = bridge.run_with_cache(IDS["input_ids"])
    for number, layer in enumerate(plain.transformer.h):
        flow = attribute_layer(layer, cache[f"blocks.{number}.hook_in"])
        assert_same(flow, expected, number)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("no_shape_checks")
def test_the_blocks_of_the_page_run_and_agree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    keep = "\nkept = globals().setdefault('kept', [])\nkept.append(globals().get('flow'))\n"
    script = tmp_path / "page.py"
    script.write_text(keep.join([*blocks, ""]), encoding="utf-8")
    monkeypatch.setenv("MPLBACKEND", "agg")
    left = runpy.run_path(str(script))
    expected = left["explainer"].explain("The cat sat on the mat.")
    hook, named, nnsight, traced, lens, cached = left["flows"] + left["kept"][1:6]
    for flow in (nnsight, traced, lens, cached):
        assert_same(flow, expected, 3)
    assert torch.allclose(hook.z2u[0], expected.z2u[3], rtol=1e-4, atol=1e-6)
    assert torch.allclose(named.z2z[0, 0], expected.z2z[3, 2], rtol=1e-4, atol=1e-6)
    assert named.tokens == expected.tokens
    assert left["page"].data.count("<mark") == len(expected.tokens) == 9
    strongest = left["row"].abs().argmax()
    colour = "hsl(120, 75%, 50%)" if left["row"][strongest] > 0 else "hsl(0, 75%, 60%)"
    assert re.findall(r"hsl\([^)]*\)(?=; opacity)", left["page"].data)[strongest] == colour
    heat = np.asarray(left["axes"].images[-1].get_array())
    patches = left["patches"] / left["patches"].abs().max()
    assert np.allclose(heat[::4, ::4], patches, atol=0.5)
    assert (np.sign(heat[::4, ::4]) == np.sign(patches.numpy())).all()
