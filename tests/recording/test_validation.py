"""What a layer must be for its maps to be right: faults that hide behind a large residual."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

import hand_made
from architectures import ARCHITECTURES, Architecture, build, example
from encoder_decoders import DECODERS, inputs_of
from ligflow import Explainer, UnsupportedModel
from ligflow.layer.layer import Layer
from ligflow.recording.tolerances import error_over_allowance, max_token_error
from sweep.made_up import runs
from sweep.verdicts import build as build_tiny

pytestmark = pytest.mark.usefixtures("no_shape_checks")
TEXT = example(ARCHITECTURES["bloom"], 6)


class Then(nn.Module):
    """A module, and what is done to its output."""

    def __init__(self, module: nn.Module, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.module, self.change = module, change

    def forward(self, *given: Tensor) -> Tensor:
        return self.change(self.module(*given))


def quiet(model: PreTrainedModel, *ends: str) -> PreTrainedModel:
    """The model with the last matrices of its branches made small: beside them the residual is large."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(ends):
                parameter.mul_(1e-3)
    return model


def quiet_bloom() -> PreTrainedModel:
    return quiet(
        build(ARCHITECTURES["bloom"]), "dense.weight", "4h_to_h.weight", "dense.bias", "4h_to_h.bias"
    )


def refusals(model: PreTrainedModel) -> set[str]:
    return {layer.findings.reason for layer in Explainer(model).prepared.record(TEXT)}


def test_a_small_branch_is_split_like_a_large_one() -> None:
    layers = Explainer(quiet_bloom()).prepared.record(TEXT)
    assert all(layer.mode == "split" for layer in layers)
    moved = max(float((layer.output - layer.hidden).norm() / layer.hidden.norm()) for layer in layers)
    assert moved < 0.02


def test_weights_halved_in_a_small_branch_are_noticed() -> None:
    model = quiet_bloom()
    for layer in model.h:
        layer.self_attention.attention_dropout = Then(nn.Identity(), lambda weights: weights / 2)
    (said,) = {refusal.rpartition(" by ")[0] for refusal in refusals(model)}
    assert said == "split at its attention it differs from the model's own (eager) output"


def test_tokens_that_mix_a_little_beside_attention_are_noticed() -> None:
    model = quiet_bloom()
    for layer in model.h:
        layer.mlp = Then(layer.mlp, lambda made: made + 1e-3 * made.mean(1, keepdim=True))
    assert refusals(model) == {"the output of a token depends on other tokens outside its attention"}


def test_a_few_large_tokens_do_not_hide_the_others() -> None:
    theirs = torch.ones(5, 8)
    theirs[0] = 1e4
    ours = theirs.clone()
    ours[3] += 0.01
    assert max_token_error(ours, theirs) == pytest.approx(0.01, rel=1e-3)
    assert error_over_allowance(ours, theirs, theirs - 0.1) > 50  # a tenth of what attention does
    assert error_over_allowance(theirs + 1e-7, theirs, theirs - 0.1) < 1


def even_mpnet() -> PreTrainedModel:
    """MPNet, whose tokens attend to all others almost alike."""
    return quiet(build(ARCHITECTURES["mpnet"]), "q.weight", "q.bias", "relative_attention_bias.weight")


def test_what_a_layer_does_to_values_is_looked_at_for_every_text() -> None:
    """Weights clipped at 0.3 are as they were among 30 tokens, and not among 2."""
    long, short = (example(ARCHITECTURES["mpnet"], tokens) for tokens in (30, 2))
    assert Explainer(even_mpnet()).attention(long).max() < 0.3
    for order in ((long, short), (short, long)):
        model = even_mpnet()
        for layer in model.encoder.layer:
            layer.attention.attn.dropout = Then(nn.Identity(), lambda weights: weights.clamp(max=0.3))
        explainer = Explainer(model)
        found = {
            len(layer.hidden): bool(layer.findings.reason)
            for text in order
            for layer in explainer.prepared.record(text)
        }
        assert found == {30: False, 2: True}


def decoder_with(change: Callable[[nn.Module], None]) -> list[Layer]:
    model = build(DECODERS["bart"])
    for layer in model.decoder.layers:
        change(layer)
    return Explainer(model, stack="decoder").prepared.record(inputs_of("bart", 5, 0, torch.float32))


def mix_keys(layer: nn.Module) -> None:
    attention = layer.encoder_attn
    attention.k_proj = Then(attention.k_proj, lambda made: made + 0.01 * made.mean(1, keepdim=True))


class Choosing(hand_made.Attention):
    """Tokens see the two keys whose first numbers are largest."""

    def forward(self, hidden: Tensor) -> Tensor:
        value = hidden[:, None]
        kept = hidden[..., 0] >= hidden[..., 0].topk(2).values[:, -1:]
        mask = torch.zeros(kept.shape).masked_fill(~kept, torch.finfo(hidden.dtype).min)[:, None, None]
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, hand_made.plain)
        return attend(self, 0 * value, 0 * value, value, mask, scaling=1.0, dropout=0.0)[0].flatten(-2)


def test_keys_that_the_hidden_states_choose_are_noticed() -> None:
    model = hand_made.build()
    model.layers[0].attention = Choosing(model.config)
    (layer,) = Explainer(model).prepared.record({"input_ids": torch.tensor([[3, 9, 4, 7, 5]])})
    assert (layer.mode, layer.findings.reason) == (
        "coupled",
        "its mask or position bias depends on the hidden states",
    )


def test_keys_of_the_memory_that_mix_are_noticed() -> None:
    for layer in decoder_with(mix_keys):
        assert layer.findings.reason == "the keys of an encoder's token depend on its other tokens"
        assert layer.findings.memory == ""


def read_memory_twice(layer: nn.Module) -> None:
    own = layer.forward

    @functools.wraps(own)
    def forward(*args: Any, **kwargs: Any) -> Any:
        made = own(*args, **kwargs)
        memory = inspect.signature(own).bind(*args, **kwargs).arguments["encoder_hidden_states"]
        beside = 0.01 * memory.mean(1, keepdim=True)
        return (made[0] + beside, *made[1:]) if isinstance(made, tuple) else made + beside

    layer.forward = forward


def test_memory_that_is_read_beside_its_attention_is_noticed() -> None:
    for layer in decoder_with(read_memory_twice):
        assert layer.findings.reason == "it uses the encoder's states outside its second attention"


def test_a_flow_says_that_the_encoder_is_held() -> None:
    model = build(DECODERS["bart"])
    for layer in model.decoder.layers:
        mix_keys(layer)
    flow = Explainer(model, stack="decoder").explain(inputs_of("bart", 5, 0, torch.float32), routes="z2z")
    said = "the encoder's tokens are held, and are no sources, since the keys of an encoder's token depend on"
    assert [said in note for note in flow.meta["notes"]] == [True, True]


def test_experts_with_a_capacity_are_not_packed_where_it_may_be_exceeded() -> None:
    sizes = {
        "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4, "vocab_size": 64,
        "num_experts": 4, "num_sparse_encoder_layers": 1, "num_decoder_layers": 1,
    }  # fmt: skip
    small, large = (
        Explainer(build(Architecture("SwitchTransformersModel", sizes | {"expert_capacity": capacity})))
        for capacity in (6, 64)
    )
    assert [
        layer.findings.positionwise for layer in small.prepared.record(example(ARCHITECTURES["t5"], 6))
    ] == [
        True,
        True,
    ]
    longer = example(ARCHITECTURES["t5"], 8)  # though six were validated before
    assert not all(layer.findings.positionwise for layer in small.prepared.record(longer))
    assert all(layer.findings.positionwise for layer in large.prepared.record(longer))


def test_hidden_states_of_zeros_are_changed_too() -> None:
    """The queries of DETR's decoder start at 0. Its pixels are all the input that it needs."""
    model = build_tiny("detr")
    pixels = {"pixel_values": torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))}
    first = Explainer(model, stack="decoder").prepared.record(pixels)[0]
    assert first.hidden.abs().max() == 0
    assert "its keys and values come from another layer" not in first.findings.reason
    flow = Explainer(model).explain(pixels, routes="z2u", layers=0, targets=[0])  # the encoder
    assert (flow.meta["stack"], flow.unmet) == ("encoder", [])


def test_masks_that_the_eager_attention_takes_for_numbers_are_read_as_the_model_does() -> None:
    """Grounding DINO hands masks of truth values to a text model that was loaded with fused attention."""
    model = build_tiny("grounding-dino")
    inputs, why = runs(model)
    assert inputs is not None, why
    for layer in Explainer(model, stack="text_backbone").prepared.record(inputs):
        assert layer.mode == "split"


def test_without_eager_attention_a_split_is_compared_with_the_layers_own() -> None:
    model = build_tiny("qwen2_5_omni_dit")
    inputs, why = runs(model)
    assert inputs is not None, why
    explainer = Explainer(model)
    for layer in explainer.prepared.record(inputs):
        assert layer.mode == "split"
    assert not explainer.explain(inputs).unmet
    for layer in model.transformer_blocks:
        layer.ff = Then(layer.ff, lambda given: given + given.flip(1))
    changed = Explainer(model)
    for layer in changed.prepared.record(inputs):
        assert "the output of a token depends on other tokens" in layer.findings.reason
    assert not changed.explain(inputs, routes="z2z").unmet  # under the attention that it was loaded with


def test_a_layer_that_overwrites_its_weights_cannot_be_differentiated() -> None:
    model = build(ARCHITECTURES["mpnet"])
    for layer in model.encoder.layer:
        layer.attention.attn.dropout = Then(nn.Identity(), lambda weights: weights.mul_(0.7))
    with pytest.raises(UnsupportedModel, match=r"Layer 0 \(encoder.layer.0, MPNetLayer\) cannot be differ"):
        Explainer(model).prepared.record(TEXT)


# --- texts of one token, and adapters that call their matrices on something else ------------------


@pytest.mark.parametrize("size", [1, 5000])
@pytest.mark.parametrize("name", ["bert", "llama", "gpt_neox", "qwen3"])
def test_one_token_repeated_gives_rows_of_zeros(name: str, size: float) -> None:
    model = build(ARCHITECTURES[name])
    with torch.no_grad():
        model.get_input_embeddings().weight.mul_(size)
        for part in model.modules():  # learned positions would tell the tokens apart
            if isinstance(part, nn.Embedding) and part is not model.get_input_embeddings():
                part.weight.zero_()
    flow = Explainer(model).explain({"input_ids": torch.full((1, 4), 5)})
    assert flow.routes == ("z2u", "u2z", "z2z")
    assert not flow.unmet
    assert not any(flow.tensors[route].any() for route in flow.routes)


def test_what_is_found_on_one_token_repeated_holds_for_other_texts() -> None:
    model = build(ARCHITECTURES["llama"])
    expected = Explainer(model).explain(TEXT)
    explainer = Explainer(model)
    explainer.explain({"input_ids": torch.full_like(TEXT["input_ids"], 5)})
    for route in expected.routes:
        torch.testing.assert_close(explainer.explain(TEXT).tensors[route], expected.tensors[route])


def test_keys_and_values_made_zero_by_hand_move_nothing() -> None:
    model = build(ARCHITECTURES["llama"], torch.float64)
    with torch.no_grad():
        for layer in model.layers:
            layer.self_attn.k_proj.weight.zero_()
            layer.self_attn.v_proj.weight.zero_()
    flow = Explainer(model).explain(TEXT, layer_baseline="zero", tol=1e-6)
    assert not flow.z2u.any()
    heads = model.config.num_attention_heads
    assert not flow.u2z[..., :heads].any()
    off_diagonal = flow.z2z[0] - torch.diag(flow.z2z[0].diagonal())
    assert not off_diagonal.any()
    first = model.embed_tokens(TEXT["input_ids"])[0]  # alone with its MLP, a token moves from 0 to itself
    block = model.layers[0]
    moved = first + block.mlp(block.post_attention_layernorm(first))
    torch.testing.assert_close(flow.z2z[0].diagonal(), moved.norm(dim=-1).detach(), rtol=1e-6, atol=0)


class ByUnitVectors(nn.Module):
    """An adapter that knows its whole matrix by calling its parts on unit vectors."""

    def __init__(self, base: nn.Linear, rank: int = 3) -> None:
        super().__init__()
        self.base = base
        self.first = nn.Linear(base.in_features, rank, bias=False)
        self.second = nn.Linear(rank, base.out_features, bias=False)

    def matrix(self) -> Tensor:
        added = self.second(self.first(torch.eye(self.base.in_features, dtype=self.base.weight.dtype)))
        whole = self.base.weight + added.T
        return whole / whole.norm(dim=1, keepdim=True)

    def forward(self, given: Tensor) -> Tensor:
        scale = self.matrix().norm(dim=1) / (self.base.weight + self.second.weight @ self.first.weight).norm(
            dim=1
        )
        return scale * (self.base(given) + self.second(self.first(given)))


@pytest.mark.parametrize("parts", [("q_proj", "v_proj"), ("q_proj", "k_proj", "v_proj", "o_proj")])
def test_an_adapter_that_calls_its_matrices_on_unit_vectors_has_the_maps_of_the_merged_model(
    parts: tuple[str, ...],
) -> None:
    torch.manual_seed(1)
    adapted, merged = build(ARCHITECTURES["llama"]), build(ARCHITECTURES["llama"])
    for layer, plain in zip(adapted.layers, merged.layers, strict=True):
        for name in parts:
            adapter = ByUnitVectors(getattr(layer.self_attn, name))
            setattr(layer.self_attn, name, adapter)
            getattr(plain.self_attn, name).weight.data = adapter.matrix().detach()
    ours, theirs = Explainer(adapted).explain(TEXT), Explainer(merged).explain(TEXT)
    assert ours.routes == theirs.routes == ("z2u", "u2z", "z2z")
    for route in theirs.routes:
        limit = 1e-5 * float(theirs.tensors[route].abs().max())
        torch.testing.assert_close(ours.tensors[route], theirs.tensors[route], rtol=0, atol=limit)


def test_a_norm_that_cannot_be_called_on_other_vectors_has_no_closed_form() -> None:
    class Strict(nn.Module):
        def __init__(self, norm: nn.Module) -> None:
            super().__init__()
            self.eps, self.weight = 1e-6, norm.weight

        def forward(self, hidden: Tensor) -> Tensor:
            if hidden.ndim != 3 or hidden.shape[1] != TEXT["input_ids"].shape[1]:
                raise RuntimeError("tokens of one text alone")
            return self.weight * hidden / (hidden.square().mean(-1, keepdim=True) + self.eps).sqrt()

    model, plain = build(ARCHITECTURES["llama"]), build(ARCHITECTURES["llama"])
    for layer in model.layers:
        layer.input_layernorm = Strict(layer.input_layernorm)
    explainer = Explainer(model)
    assert all(
        "tokens of one text alone" in layer.findings.no_closed_form
        for layer in explainer.prepared.record(TEXT)
    )
    ours, theirs = explainer.explain(TEXT), Explainer(plain).explain(TEXT)
    for route in theirs.routes:
        limit = 1e-3 * float(theirs.tensors[route].abs().max())
        torch.testing.assert_close(ours.tensors[route], theirs.tensors[route], rtol=0, atol=limit)
