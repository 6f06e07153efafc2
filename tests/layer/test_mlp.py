"""The MLP of a layer is told from its attention by what is computed; a switch holds what it gives."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from architectures import ARCHITECTURES, Architecture, build, example
from encoder_decoders import explainer_of, inputs_of
from ligflow import Explainer, UnsupportedModel
from ligflow.layer.layer import Layer
from ligflow.layer.mlp import mlp_modules, switched
from ligflow.layer.model_state import prepared

GATED = ["mlp.down_proj", "mlp.gate_proj", "mlp.up_proj"]
FOUND = {
    "bert": ["intermediate.dense", "output.dense"],
    "cohere": GATED,
    "falcon": ["mlp.dense_4h_to_h", "mlp.dense_h_to_4h"],
    "gemma3_text": GATED,
    "gpt2": ["mlp.c_fc", "mlp.c_proj"],
    "gpt_oss": ["mlp.experts", "mlp.router"],
    "mixtral": ["mlp.experts", "mlp.gate"],
    "modernbert": ["mlp.Wi", "mlp.Wo"],
    "opt": ["fc1", "fc2"],
}


def _layer(name: str, change: Callable[[nn.Module], None] = lambda _layer: None) -> Layer:
    model = build(ARCHITECTURES[name])
    change(model)
    return Explainer(model).prepared.record(example(ARCHITECTURES[name], 5))[1]


def _found(layer: Layer) -> list[str]:
    names = {module: name for name, module in layer.module.named_modules()}
    with prepared(layer.module, layer.implementation):
        return sorted(names[module] for module in mlp_modules(layer))


@pytest.mark.parametrize("name", FOUND)
def test_the_weights_of_an_mlp_are_those_that_are_not_of_attention(name: str) -> None:
    assert _found(_layer(name)) == FOUND[name]


def test_a_second_attention_is_no_mlp() -> None:
    layer = explainer_of("t5").prepared.record(inputs_of("t5", 5, 0, torch.float32))[0]
    assert _found(layer) == ["layer.2.DenseReluDense.wi", "layer.2.DenseReluDense.wo"]


def test_experts_that_no_token_chose_are_found_too() -> None:
    config = {
        "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_decoder_layers": 2, "num_heads": 4,
        "vocab_size": 64, "num_experts": 16, "decoder_sparse_step": 1, "num_sparse_decoder_layers": 2,
    }  # fmt: skip
    model = build(Architecture("SwitchTransformersModel", config))
    layer = Explainer(model, stack="decoder").prepared.record(inputs_of("t5", 5, 0, torch.float32))[0]
    assert sum(name.endswith(".wo") for name in _found(layer)) == 16


class _LowRank(nn.Module):
    """A projection with a product of two small ones beside it."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base, self.down = base, nn.Linear(base.in_features, 2, bias=False)
        self.up = nn.Linear(2, base.out_features, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + self.up(self.down(x))


def test_what_stays_affine_in_attention_is_its_output_projection() -> None:
    def adapted(model: Any) -> None:
        for layer in model.layers:
            layer.self_attn.o_proj = _LowRank(layer.self_attn.o_proj)

    assert _found(_layer("llama", adapted)) == GATED


def test_a_norm_before_the_output_projection_does_not_hide_it() -> None:
    def normed(model: Any) -> None:
        for layer in model.layers:
            layer.self_attn.o_proj = nn.Sequential(nn.LayerNorm(32), layer.self_attn.o_proj)

    assert _found(_layer("llama", normed)) == GATED


class _Nothing(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)


def test_a_layer_without_an_mlp_has_none() -> None:
    def bare(model: Any) -> None:
        for layer in model.layers:
            layer.mlp = _Nothing()

    assert _found(_layer("llama", bare)) == []


def test_weights_of_one_module_for_both_are_refused() -> None:
    class Shares(nn.Module):
        def __init__(self, shared: nn.Linear) -> None:
            super().__init__()
            self.shared = shared

        def forward(self, x: Tensor) -> Tensor:
            return self.shared(x).tanh()

    def sharing(model: Any) -> None:
        for layer in model.layers:
            layer.mlp = Shares(layer.self_attn.o_proj)

    layer = _layer("llama", sharing)
    with (
        prepared(layer.module, layer.implementation),
        pytest.raises(UnsupportedModel, match="cannot be told"),
    ):
        mlp_modules(layer)


def test_a_closed_switch_holds_what_modules_give_and_an_open_one_changes_nothing() -> None:
    torch.manual_seed(0)
    double = nn.Linear(3, 3)
    x = torch.randn(2, 3, requires_grad=True)
    with switched([double]) as switch:
        given = double(x)
        given += x  # as some models do, in place
        image = given.square().sum()
    (whole,) = torch.autograd.grad(image, x, retain_graph=True)
    switch.open = False
    (beside,) = torch.autograd.grad(image, x)
    (expected,) = torch.autograd.grad((double(x) + x).square().sum(), x)
    torch.testing.assert_close(whole, expected)
    torch.testing.assert_close(beside, 2 * (double(x) + x).detach())
    assert not double._forward_hooks
