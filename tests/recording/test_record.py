"""Finding, recording and validating layers; models that cannot be split say why."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPModel, PreTrainedConfig, PreTrainedModel

from architectures import _GROUPED, ARCHITECTURES, WHOLE_ONLY, Architecture, build, example, since
from hand_made import Mixing
from ligflow import Explainer, UnsupportedModel
from ligflow.errors import LigflowError
from ligflow.evaluation.conformance import check
from ligflow.layer.layer import Layer
from ligflow.layer.model_state import prepared
from ligflow.recording.record import record as unvalidated
from ligflow.recording.validation import validate
from sweep.made_up import runs
from sweep.verdicts import build as build_tiny


def record(model: PreTrainedModel, inputs: dict[str, Tensor]) -> list[Layer]:
    return [validate(model, layer) for layer in unvalidated(model, inputs)]


def test_layers_come_in_the_order_of_their_calls_with_names() -> None:
    layers = record(build(ARCHITECTURES["bert"]), example(ARCHITECTURES["bert"]))
    assert [(layer.index, layer.name) for layer in layers] == [(0, "encoder.layer.0"), (1, "encoder.layer.1")]
    torch.testing.assert_close(layers[1].hidden, layers[0].output)


def test_a_layer_that_is_called_often_is_recorded_often() -> None:
    layers = record(build(ARCHITECTURES["albert"]), example(ARCHITECTURES["albert"]))
    assert len(layers) == 3
    assert layers[0].module is layers[2].module
    torch.testing.assert_close(layers[2].hidden, layers[1].output)


def test_groups_of_several_layers_are_opened() -> None:
    architecture = ARCHITECTURES["albert"]
    config = {**architecture.config, "inner_group_num": 2, "num_hidden_layers": 2}
    layers = record(build(type(architecture)(architecture.model, config)), example(architecture))
    assert len(layers) == 4
    assert all(layer.mode == "split" for layer in layers)


@pytest.mark.parametrize("name", ["llama", "gpt2", "t5"])
def test_no_cache_is_replayed(name: str) -> None:
    explainer = Explainer(build(ARCHITECTURES[name]))
    for layer in explainer.prepared.record(example(ARCHITECTURES[name])):
        assert layer.arguments.get("past_key_values") is None
        with prepared(layer.module), torch.no_grad():
            for _ in range(3):
                torch.testing.assert_close(layer.forward(layer.hidden[None])[0], layer.output)


def test_a_causal_layer_keeps_its_mask() -> None:
    explainer = Explainer(build(ARCHITECTURES["gpt2"]))
    layer = explainer.prepared.record(example(ARCHITECTURES["gpt2"]))[0]
    changed = layer.hidden.clone()
    changed[-1] += 1
    with prepared(layer.module), torch.no_grad():
        torch.testing.assert_close(layer.forward(changed[None])[0, :-1], layer.output[:-1])


def test_a_decoder_with_cross_attention_has_the_given_states_as_memory() -> None:
    from transformers import BertConfig, BertModel

    config = BertConfig(**ARCHITECTURES["bert"].config, is_decoder=True, add_cross_attention=True)
    model = BertModel(config).eval()
    inputs = example(ARCHITECTURES["bert"], 5) | {"encoder_hidden_states": torch.randn(1, 5, 32)}
    (layer, *_) = Explainer(model).prepared.record(inputs)
    assert (layer.findings.reason, layer.findings.memory, layer.findings.cross_heads) == (
        "",
        "encoder_hidden_states",
        4,
    )
    torch.testing.assert_close(layer.encoded, inputs["encoder_hidden_states"][0])


@since("5.2.0")  # whose towers are models
def test_two_towers_ask_for_one() -> None:
    text = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "vocab_size": 64,
    }
    vision = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16,
              "image_size": 8, "patch_size": 4}  # fmt: skip
    model = CLIPModel(
        CLIPConfig(
            text_config=text | {"eos_token_id": 2, "bos_token_id": 1, "pad_token_id": 0}, vision_config=vision
        )
    ).eval()
    inputs = {"input_ids": torch.tensor([[1, 5, 2]]), "pixel_values": torch.randn(1, 3, 8, 8)}
    with pytest.raises(UnsupportedModel, match="several stacks"):
        Explainer(model).explain(inputs)
    flow = Explainer(model.vision_model).explain({"pixel_values": inputs["pixel_values"]})
    assert not flow.unmet


def test_an_unknown_attention_argument_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build(ARCHITECTURES["llama"])
    for layer in model.layers:
        attention = layer.self_attn
        forward = attention.forward
        monkeypatch.setattr(
            attention,
            "forward",
            lambda *a, _forward=forward, **k: _forward(*a, **k, block_indices=torch.ones(1)),
        )
    with pytest.raises(UnsupportedModel, match="'block_indices'"):
        Explainer(model).explain(example(ARCHITECTURES["llama"], 4))


def test_a_layer_that_mixes_tokens_after_attention_is_refused() -> None:
    model = build(ARCHITECTURES["llama"])
    for layer in model.layers:
        layer.post_attention_layernorm = Mixing(layer.post_attention_layernorm)
    layers = record(model, example(ARCHITECTURES["llama"]))
    assert "the output of a token depends on other tokens" in layers[0].findings.reason


@pytest.mark.parametrize("name", WHOLE_ONLY)
def test_models_off_the_interface_say_so_and_offer_z2z(name: str) -> None:
    explainer = Explainer(build(WHOLE_ONLY[name]))
    with pytest.raises(UnsupportedModel, match=r"routes=\('z2z',\)"):
        explainer.explain(example(WHOLE_ONLY[name], 4))
    flow = explainer.explain(example(WHOLE_ONLY[name], 4), routes=("z2z",))
    assert flow.routes == ("z2z",)
    assert not flow.unmet


class BlocksConfig(PreTrainedConfig):
    model_type = "blocks"
    meet: bool = False
    pool: bool = False


class Block(nn.Module):
    """A layer without attention, in which tokens meet or not."""

    def __init__(self, meet: bool) -> None:
        super().__init__()
        self.meet, self.linear = meet, nn.Linear(8, 8)

    def forward(self, hidden: Tensor) -> Tensor:
        mixed = hidden.cumsum(dim=1) if self.meet else hidden
        return hidden + torch.tanh(self.linear(mixed))


class Blocks(PreTrainedModel):
    """Tokens meet before the blocks, in them if `meet`; every block but the last pools if `pool`."""

    config_class = BlocksConfig

    def __init__(self, config: BlocksConfig) -> None:
        super().__init__(config)
        self.embed = nn.Embedding(64, 8)
        self.blocks = nn.ModuleList(Block(config.meet) for _ in range(2))
        self.post_init()

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        hidden = self.embed(input_ids).cumsum(dim=1)
        for block in self.blocks:
            hidden = block(hidden)[:, :: 2 if self.config.pool else 1]
        return hidden


IDS = {"input_ids": torch.tensor([[5, 6, 7, 8]])}


def test_a_stack_in_which_tokens_never_meet_is_refused() -> None:
    with pytest.raises(UnsupportedModel, match=r"blocks\.0 \(Block\), no token depends on another"):
        Explainer(Blocks(BlocksConfig())).explain(IDS, routes=("z2z",))
    assert not Explainer(Blocks(BlocksConfig(meet=True))).explain(IDS, routes=("z2z",)).unmet


def test_layers_of_different_numbers_of_tokens_are_explained_apart() -> None:
    explainer = Explainer(Blocks(BlocksConfig(meet=True, pool=True)))
    with pytest.raises(UnsupportedModel, match=r"layer 0: 4, layer 1: 2\); .*layers=\[0\]"):
        explainer.explain(IDS, routes=("z2z",))
    said = check(explainer, [IDS])[0].detail
    assert "; with 4, 2 tokens: explain layers of one number at a time" in said
    assert explainer.explain(IDS, routes=("z2z",), layers=[0]).tokens == ["#5", "#6", "#7", "#8"]
    assert explainer.explain(IDS, routes=("z2z",), layers=[1]).tokens == ["0", "1"]
    padded = IDS | {"attention_mask": torch.tensor([[1, 1, 1, 0]])}
    with pytest.raises(LigflowError, match="mask has 4 entries and hides some, and the layers have 2 tokens"):
        explainer.explain(padded, routes=("z2z",), layers=[1])


def test_layers_that_take_keys_apart_from_their_hidden_states_are_refused() -> None:
    """Funnel hands queries, keys and values to a layer one by one."""
    config = {"vocab_size": 64, "block_sizes": [1, 1], "d_model": 32, "n_head": 4, "d_head": 8, "d_inner": 48}
    model = build(Architecture("FunnelModel", config))
    with pytest.raises(UnsupportedModel, match="or they take keys and values apart"):
        Explainer(model, stack="decoder").explain(IDS, routes=("z2z",))


@since("5.5.0")  # which brought Gemma4
def test_layers_that_share_keys_of_others_have_maps_of_their_queries_and_say_so() -> None:
    config = _GROUPED | {
        "num_hidden_layers": 4, "layer_types": ["sliding_attention", "full_attention"] * 2,
        "num_kv_shared_layers": 2, "hidden_size_per_layer_input": 8, "vocab_size_per_layer_input": 64,
        "global_head_dim": 8, "sliding_window": 4,
    }  # fmt: skip
    architecture = Architecture("Gemma4TextModel", config)
    explainer, inputs = Explainer(build(architecture)), example(architecture, 6)
    flow = explainer.explain(inputs, att_baseline="zero")
    assert flow.layers == (0, 1, 2, 3)
    assert not flow.unmet
    assert flow.meta["notes"][-1].endswith("that moves what its heads give: layers 2, 3")
    diagonal = flow.z2u * torch.eye(6)
    assert torch.equal(flow.z2u[2:], diagonal[2:])
    assert bool((diagonal[2:].abs().sum((1, 2, 3)) > 1e-3).all())
    assert not torch.equal(flow.z2u[:2], diagonal[:2])


def test_with_a_table_of_implementations_of_its_own_attention_is_seen_at_its_softmax(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As ModernBERT's in transformers 5.0."""
    model = build(ARCHITECTURES["bert"])
    attention = model.encoder.layer[0].attention.self
    own = attention.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        return {"eager": own}[model.config._attn_implementation](*args, **kwargs)

    monkeypatch.setattr(attention, "forward", forward)
    for layer in Explainer(model).prepared.record(IDS):
        assert (layer.findings.reason, len(layer.forms)) == ("", 1)
    found, expected = (Explainer(one).explain(IDS) for one in (model, build(ARCHITECTURES["bert"])))
    torch.testing.assert_close(found.z2u, expected.z2u, rtol=1e-4, atol=1e-5)
    said = (
        "the model does not run with the attention that it was loaded with ('sdpa': 'sdpa'), so its eager one"
    )
    assert any(note.startswith(said) for note in found.meta["notes"])


def test_a_model_without_layers_is_refused() -> None:
    from transformers import ResNetConfig, ResNetModel

    model = ResNetModel(ResNetConfig(embedding_size=8, hidden_sizes=[8], depths=[1], num_channels=3)).eval()
    with pytest.raises(LigflowError, match="No layers were found"):
        Explainer(model).explain({"pixel_values": torch.randn(1, 3, 32, 32)})


@pytest.mark.usefixtures("no_shape_checks")
def test_a_whole_name_of_a_stack_is_that_stack() -> None:
    model = build_tiny("idefics")  # its gated_cross_attn_layers and vision_model.encoder.layers end alike
    inputs, _ = runs(model)
    layers = Explainer(model, stack="layers.*").prepared.record(inputs)
    assert [layer.name for layer in layers] == ["layers.0", "layers.1"]
    with pytest.raises(LigflowError, match=r"Several stacks of IdeficsModel match stack='layers'"):
        Explainer(model, stack="layers").prepared.record(inputs)


def test_a_cache_by_any_name_is_left_out() -> None:
    (first, _) = Explainer(build_tiny("flaubert")).prepared.record({"input_ids": torch.arange(5, 11)[None]})
    assert first.arguments["cache"] is None
