"""One layer on activations that a program has."""

import copy
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from transformers import PreTrainedModel

from architectures import ARCHITECTURES, WHOLE_ONLY, build, example
from brute_force import fine_rule, integrate, pairs
from ligflow import CompletenessWarning, Explainer, Flow, LigflowError, UnsupportedModel, attribute_layer
from ligflow.layer.model_state import locked, replaced_forwards
from ligflow.routes.workspace import Selection

BERT, GPT2, LLAMA = (ARCHITECTURES[name] for name in ("bert", "gpt2", "llama"))


def hooked(model: nn.Module, layers: list[nn.Module], inputs: dict[str, Any], **settings: Any) -> list[Flow]:
    """A program with a hook before each of some layers: the flows, in the order of the layers' calls."""
    flows: list[Flow] = []

    def attribute(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        flows.append(attribute_layer(module, *args, **kwargs, **settings))

    modules = dict.fromkeys(layers)
    handles = [one.register_forward_pre_hook(attribute, with_kwargs=True) for one in modules]
    with torch.no_grad():
        model(**inputs)
    for handle in handles:
        handle.remove()
    return flows


def layers_of(model: PreTrainedModel, inputs: dict[str, Any]) -> list[nn.Module]:
    explainer = Explainer(model)
    return [explainer.model.get_submodule(layer.name) for layer in explainer.prepared.record(inputs)]


def assert_same(found: Flow, expected: Flow, row: int) -> None:
    """One layer of a flow to float32 rounding, relative to the largest cell; integrals share their nodes."""
    for route in found.routes:
        for name in [route, f"{route}.total"]:
            ours, theirs = found.tensors[name][0], expected.tensors[name][row]
            assert (ours - theirs).abs().max() <= 2e-5 * theirs.abs().max(), name
        assert found.certificate(route).abs().max() <= expected.certificate(route)[row].abs().max() + 1e-5


@pytest.mark.filterwarnings("ignore::ligflow.CompletenessWarning")  # few points
@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_in_a_hook_it_gives_the_flow_of_the_explainer(name: str, implementation: str) -> None:
    architecture = ARCHITECTURES[name]
    model = build(architecture)
    try:
        model.set_attn_implementation(implementation)
    except ValueError:
        pytest.skip(f"{name} does not take {implementation}")
    inputs = example(architecture, 5, 2) if architecture.inputs == "text" else example(architecture)
    explainer = Explainer(model)
    rule = "gauss-legendre:8"
    expected = explainer.explain(inputs, quadrature=rule)
    flows = hooked(explainer.model, layers_of(model, inputs), inputs, quadrature=rule)
    assert len(flows) == len(expected.layers)
    for row, flow in enumerate(flows):
        assert_same(flow, expected, row)


@pytest.mark.parametrize("name", ["bert", "gpt2", "gemma3_text"])
def test_settings_and_names_are_those_of_the_explainer(name: str) -> None:
    architecture = ARCHITECTURES[name]
    model, inputs = build(architecture), example(architecture, 6)
    asked: dict[str, Any] = {
        "routes": ("z2u", "z2z"), "targets": [1, -1], "att_baseline": "mean", "tol": 1e-4,
        "layer_baseline": torch.ones(32), "scalarization": "projection",
    }  # fmt: skip
    expected = Explainer(model).explain(inputs, **asked)
    flows = hooked(model, layers_of(model, inputs), inputs, tokens=list("abcdef"), **asked)
    for row, flow in enumerate(flows):
        assert_same(flow, expected, row)
        assert (flow.layers, flow.targets) == ((row,), (1, 5))
        assert flow.tokens == list("abcdef")
        assert flow.meta["settings"] == expected.meta["settings"]
        assert flow.meta["model_class"] == type(layers_of(model, inputs)[row]).__name__


@pytest.mark.parametrize("name", ["bert", "gemma2"])
def test_against_brute_force(name: str) -> None:
    """Plain autograd through the layer, in float64, by a rule fine enough to be called exact."""
    architecture = ARCHITECTURES[name]
    model = build(architecture, torch.float64)
    inputs = example(architecture, 4)
    explainer = Explainer(model)
    layer = explainer.prepared.record(inputs)[1]
    (flow,) = hooked(
        model, [explainer.model.get_submodule(layer.name)], inputs, mlp_baseline="matched", tol=1e-6
    )
    everyone = torch.arange(4)
    with explainer.prepared.ready_for(layer):
        for route, _, oracle in pairs(layer, "itb", Selection(everyone, everyone)):
            exact = integrate(oracle, Selection(everyone, everyone), fine_rule(to_origin=False, kinks=False))
            ours = flow.tensors[route][0]
            if route == "u2z":
                ours = torch.cat([ours, flow.u2z_residual[0][None]]).T[:, None]
            elif route == "z2z":
                ours = ours[:, None]
            else:
                ours = ours.transpose(0, 1)
            assert torch.allclose(ours, exact, rtol=1e-5, atol=1e-8), route


def test_hidden_states_alone_with_or_without_the_axis_of_examples() -> None:
    model, inputs = build(BERT), example(BERT, 5)
    layer = Explainer(model).prepared.record(inputs)[1]
    expected = Explainer(model).explain(inputs, layers=1)
    for hidden in (layer.hidden, layer.hidden[None]):
        flow = attribute_layer(layer.module, hidden)
        assert_same(flow, expected, 0)
        assert (flow.tokens, flow.layers) == (list("01234"), (1,))


@pytest.mark.parametrize("name", ["gpt2", "llama", "t5"])
def test_one_token(name: str) -> None:
    model, inputs = build(ARCHITECTURES[name]), example(ARCHITECTURES[name], 1)
    expected = Explainer(model).explain(inputs)
    explained = Explainer(model)
    for row, flow in enumerate(hooked(explained.model, layers_of(model, inputs), inputs)):
        assert_same(flow, expected, row)


def test_without_a_mask_a_causal_layer_is_causal_under_sdpa_and_refused_under_eager() -> None:
    model, inputs = build(GPT2), example(GPT2, 5)
    layer, expected = Explainer(model).prepared.record(inputs)[0], Explainer(model).explain(inputs, layers=0)
    model.set_attn_implementation("sdpa")
    flow = attribute_layer(model.h[0], layer.hidden)
    assert_same(flow, expected, 0)
    assert flow.z2u.triu(1).abs().max() == 0
    model.set_attn_implementation("eager")
    with pytest.raises(LigflowError, match=r"GPT2Attention is causal, .* pass the attention_mask"):
        attribute_layer(model.h[0], layer.hidden)


def state(module: nn.Module) -> list[Any]:
    return [
        (one.training, list(one._forward_hooks), list(one._forward_pre_hooks), list(one._backward_hooks))
        for one in module.modules()
    ] + [(p.requires_grad, p.data_ptr()) for p in module.parameters()]


def test_a_training_step_goes_on_as_if_nothing_had_been_asked() -> None:
    def gradients(model: PreTrainedModel, layers: list[nn.Module]) -> list[torch.Tensor]:
        torch.manual_seed(1)
        flows: list[Flow] = []
        handles = [
            one.register_forward_pre_hook(
                lambda module, args, kwargs: flows.append(attribute_layer(module, *args, **kwargs)),
                with_kwargs=True,
            )
            for one in layers
        ]
        model(**example(BERT, 5)).last_hidden_state.square().sum().backward()
        for handle in handles:
            handle.remove()
        assert len(flows) == len(layers)
        return [parameter.grad for parameter in model.encoder.parameters() if parameter.grad is not None]

    plain, watched = build(BERT).train(), build(BERT).train()
    watched.encoder.layer[0].intermediate.register_forward_hook(lambda *_: None)
    before = state(watched)
    expected = gradients(plain, [])
    found = gradients(watched, list(watched.encoder.layer))
    assert state(watched) == before
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_training_mode_and_hooks_of_the_parts_do_not_change_the_flow() -> None:
    model, inputs = build(BERT), example(BERT, 5)
    layer, expected = Explainer(model).prepared.record(inputs)[0], Explainer(model).explain(inputs, layers=0)
    calls: list[int] = []
    part = layer.module.intermediate
    part.register_forward_hook(lambda _module, _args, output: calls.append(1) or output + 1)  # type: ignore[func-returns-value]
    model.train()
    before = state(model)
    assert_same(attribute_layer(layer.module, layer.hidden), expected, 0)
    assert (state(model), calls) == (before, [])
    with pytest.raises(LigflowError):
        attribute_layer(layer.module, layer.hidden, tokens=["one"])
    assert state(model) == before


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_integrated_in_a_float32_copy_and_noted(dtype: torch.dtype) -> None:
    model, inputs = build(LLAMA, dtype), example(LLAMA, 5)
    flows = hooked(model, list(model.layers), inputs)
    assert flows[0].z2z.dtype == torch.float32
    assert "float32 copy" in flows[0].meta["notes"][0]
    assert flows[0].worst_certificate() < 1e-3
    assert next(model.parameters()).dtype == dtype


@pytest.mark.parametrize("mode", [torch.inference_mode, lambda: torch.autocast("cpu", dtype=torch.bfloat16)])
def test_the_programs_modes_do_not_change_a_result(mode: Callable[[], Any]) -> None:
    model, inputs = build(BERT), example(BERT, 5)
    layer = Explainer(model).prepared.record(inputs)[0]
    expected = attribute_layer(layer.module, layer.hidden)
    with mode():
        found = attribute_layer(layer.module, layer.hidden.clone())
    assert torch.equal(found.z2z, expected.z2z)


def test_layers_off_the_interface_offer_z2z() -> None:
    architecture = WHOLE_ONLY["mamba"]
    model, inputs = build(architecture), example(architecture, 4)
    expected = Explainer(model).explain(inputs, routes="z2z")
    flows = hooked(model, list(model.layers), inputs, routes="z2z")
    assert torch.allclose(flows[1].z2z[0], expected.z2z[1], rtol=1e-4, atol=1e-6)
    with pytest.raises(UnsupportedModel, match=r"Layer 0 \(MambaBlock\) offers no z2u .*routes=\('z2z',\)"):
        hooked(model, [model.layers[0]], inputs)


def test_cells_that_miss_the_tolerance_are_warned_of() -> None:
    model, inputs = build(BERT), example(BERT, 5)
    layer = Explainer(model).prepared.record(inputs)[0]
    with pytest.warns(CompletenessWarning, match="cells miss the tolerance"):
        attribute_layer(layer.module, layer.hidden, quadrature="captum:2")


@pytest.fixture(scope="module")
def bert() -> tuple[nn.Module, torch.Tensor]:
    layer = Explainer(build(BERT)).prepared.record(example(BERT, 5))[0]
    return layer.module, layer.hidden


WRONG: dict[str, tuple[Callable[[torch.Tensor], Any], str]] = {
    "no tensor": (lambda z: z.tolist(), "hidden states are list; pass a tensor"),
    "whole numbers": (lambda z: z.long(), "hidden states are torch.int64; pass a tensor of floating"),
    "one axis": (lambda z: z[0], r"shape \(32,\); pass those of one example"),
    "four axes": (lambda z: z[None, None], r"shape \(1, 1, 5, 32\)"),
    "a batch": (lambda z: torch.stack([z, z]), r"shape \(2, 5, 32\); .* hidden_states\[i : i \+ 1\]"),
    "no tokens": (lambda z: z[:0], r"shape \(0, 32\)"),
    "NaN": (lambda z: z * np.nan, "hold NaN or infinite"),
    "another size": (
        lambda z: z[:, :16],
        r"BertLayer could not run on these arguments \(hidden_states.*\): mat",
    ),
    "another type": (lambda z: z.double(), r"are torch.float64, and the layer's weights torch.float32"),
    "another device": (lambda z: z.to("meta"), "are on meta, and the layer on cpu"),
}


@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.parametrize(("spoil", "said"), WRONG.values(), ids=WRONG.keys())
def test_hidden_states_that_do_not_fit_are_refused(
    bert: tuple[nn.Module, torch.Tensor], spoil: Callable[[torch.Tensor], Any], said: str
) -> None:
    with pytest.raises(LigflowError, match=said):
        attribute_layer(bert[0], spoil(bert[1]))


@pytest.mark.usefixtures("no_shape_checks")
def test_modules_that_are_no_layers_are_refused(bert: tuple[nn.Module, torch.Tensor]) -> None:
    layer, hidden = bert
    for module, said in (
        (build(BERT), "BertModel is a whole model; pass one of its layers, or use Explainer"),
        (nn.Dropout(), "needs the module of a layer, with weights, not Dropout"),
        (torch.sigmoid, "needs the module of a layer, with weights, not builtin_function_or_method"),
        (nn.LayerNorm(32), "LayerNorm is not a layer: no token depends on another"),
        (
            layer.intermediate,
            "BertIntermediate is not a layer: its input and output are not hidden states of",
        ),
        (nn.ModuleList([layer]), r"the layer \(ModuleList\) takes unnamed positional arguments"),
    ):
        with pytest.raises(LigflowError, match=said):
            attribute_layer(module, hidden)  # type: ignore[arg-type]


@pytest.mark.usefixtures("no_shape_checks")
def test_other_mistakes_are_named(bert: tuple[nn.Module, torch.Tensor]) -> None:
    layer, hidden = bert
    for settings, said in (
        ({"tokens": ["a"]}, "tokens names 1, and the hidden states hold 5"),
        ({"routes": "z2x"}, "Unknown route 'z2x'"),
        ({"targets": 9}, "There is no target 9"),
        ({"tolerance": 1e-3}, "passes attention argument 'tolerance', which ligflow does not understand"),
        ({"tol": 2}, "tol is 2"),
    ):
        with pytest.raises(LigflowError, match=re.escape(said)):
            attribute_layer(layer, hidden, **settings)  # type: ignore[arg-type]
    broken = copy.deepcopy(layer)
    with torch.no_grad():
        broken.output.dense.bias[0] = np.nan
    with pytest.raises(LigflowError, match=r"weights of 'output\.dense\.bias' hold NaN"):
        attribute_layer(broken, hidden)


def test_missing_arguments_are_named_with_the_layers_own_error() -> None:
    layer = Explainer(build(LLAMA)).prepared.record(example(LLAMA, 5))[0]
    with pytest.raises(
        LigflowError, match=r"LlamaDecoderLayer could not run .*cannot unpack.*with_kwargs=True gets it"
    ):
        attribute_layer(layer.module, layer.hidden)


def test_a_cache_with_earlier_tokens_is_refused_and_an_empty_one_is_left_empty() -> None:
    model = build(GPT2)
    inputs = example(GPT2, 5)
    expected = Explainer(model).explain(inputs)
    flows = hooked(model, list(model.h), inputs | {"use_cache": True})
    assert_same(flows[1], expected, 1)
    cache = model(**inputs, use_cache=True).past_key_values
    with pytest.raises(LigflowError, match=r"cache holds 5 tokens already.*use_cache=False"):
        hooked(model, [model.h[0]], {"input_ids": torch.tensor([[7]]), "past_key_values": cache})
    watched = build(GPT2)
    lengths: list[int] = []

    def attribute(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        attribute_layer(module, *args, **kwargs, routes="z2z")
        lengths.append(args[1].get_seq_length(0))

    watched.h[0].register_forward_pre_hook(attribute, with_kwargs=True)
    logits = watched(**inputs, use_cache=True).last_hidden_state
    assert lengths == [0]
    assert torch.equal(logits, model(**inputs, use_cache=True).last_hidden_state)


def test_a_layer_waits_for_another_thread_that_has_its_model() -> None:
    model, inputs = build(BERT), example(BERT, 5)
    explainer = Explainer(model)
    layer, expected = explainer.prepared.record(inputs)[1], explainer.explain(inputs)
    layer.module.register_forward_hook(lambda *_: None)
    before = state(model)
    with ThreadPoolExecutor(3) as threads:
        whole = [threads.submit(explainer.explain, inputs) for _ in range(4)]
        alone = [threads.submit(attribute_layer, layer.module, layer.hidden) for _ in range(4)]
    for flow in whole:
        assert torch.equal(flow.result().z2u, expected.z2u)
    for flow in alone:
        assert_same(flow.result(), expected, 1)
    assert (state(model), model.config._attn_implementation) == (before, "sdpa")


def test_a_layer_is_not_copied_while_another_thread_has_its_modules_replaced() -> None:
    explainer, inputs = Explainer(build(BERT)), example(BERT, 5)
    layer, expected = explainer.prepared.record(inputs)[1], explainer.explain(inputs)
    value = layer.module.attention.self.value
    with ThreadPoolExecutor(1) as threads:
        with locked(layer.module), replaced_forwards({value: torch.zeros_like}):
            waiting = threads.submit(attribute_layer, layer.module, layer.hidden)
            assert not wait([waiting], timeout=0.2).done
        assert_same(waiting.result(), expected, 1)
