"""Tiny random models of many families: a config as data, and one example of their input."""
# ruff: noqa: E501

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
import transformers
from packaging.version import Version
from torch import Tensor
from transformers import PreTrainedModel

from ligflow import Explainer

_SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "vocab_size": 64,
    "max_position_embeddings": 40,
    "pad_token_id": 0,
}
_GROUPED = _SMALL | {"num_key_value_heads": 2, "head_dim": 8}


@dataclass(frozen=True, eq=False)
class Architecture:
    """A model class, the fields of its config, and what kind of input it takes."""

    model: str
    config: Mapping[str, Any] = field(default_factory=dict)
    inputs: str = "text"
    experts: bool = False
    causal: bool = False


def _decoder(
    model: str, base: Mapping[str, Any] = _GROUPED, experts: bool = False, **more: Any
) -> Architecture:
    return Architecture(model, {**base, **more}, experts=experts, causal=True)


ARCHITECTURES = {
    "albert": Architecture("AlbertModel", _SMALL | {"embedding_size": 16, "num_hidden_layers": 3}),
    "bart": Architecture(
        "BartModel",
        {"d_model": 32, "encoder_layers": 2, "decoder_layers": 1, "encoder_attention_heads": 4,
         "decoder_attention_heads": 4, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "vocab_size": 64,
         "max_position_embeddings": 40},
    ),
    "bert": Architecture("BertModel", _SMALL),
    "bloom": Architecture(
        "BloomModel", {"hidden_size": 32, "n_layer": 2, "n_head": 4, "vocab_size": 64}, causal=True
    ),
    "cohere": _decoder("CohereModel", bos_token_id=1, eos_token_id=2),
    "dinov2": Architecture("Dinov2Model", _SMALL | {"image_size": 8, "patch_size": 4, "mlp_ratio": 2}, "image"),
    "distilbert": Architecture(
        "DistilBertModel", {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48, "vocab_size": 64}
    ),
    "electra": Architecture("ElectraModel", _SMALL | {"embedding_size": 16}),
    "falcon": Architecture(
        "FalconModel", {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 64},
        causal=True,
    ),
    "gemma": _decoder("GemmaModel"),
    "gemma2": _decoder(
        "Gemma2Model", sliding_window=4, attn_logit_softcapping=2.0, query_pre_attn_scalar=8
    ),
    "gemma3_text": _decoder(
        "Gemma3TextModel", sliding_window=4, layer_types=["sliding_attention", "full_attention"],
        query_pre_attn_scalar=8,
    ),
    "gpt2": _decoder(
        "GPT2Model", {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_inner": 48, "vocab_size": 64, "n_positions": 40,
         "bos_token_id": 1, "eos_token_id": 2}
    ),
    "gpt_neox": _decoder("GPTNeoXModel", _SMALL, rotary_pct=0.5),
    "gpt_oss": _decoder(
        "GptOssModel", experts=True, num_local_experts=4, num_experts_per_tok=2, sliding_window=4,
        layer_types=["sliding_attention", "full_attention"], rope_parameters={"rope_type": "default", "rope_theta": 1e4},
    ),
    "gptj": Architecture(
        "GPTJModel",
        {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_inner": 48, "vocab_size": 64, "n_positions": 40, "rotary_dim": 4,
         "bos_token_id": 1, "eos_token_id": 2},
        causal=True,
    ),
    "llama": _decoder("LlamaModel"),
    "mistral": _decoder("MistralModel", sliding_window=4),
    "mixtral": _decoder("MixtralModel", experts=True, num_local_experts=4, num_experts_per_tok=2),
    "modernbert": Architecture(
        "ModernBertModel",
        _SMALL | {"local_attention": 6, "global_attn_every_n_layers": 2, "cls_token_id": 1, "sep_token_id": 2,
                  "bos_token_id": 1, "eos_token_id": 2},
    ),
    "mpnet": Architecture("MPNetModel", _SMALL),
    "olmoe": _decoder("OlmoeModel", experts=True, num_experts=4, num_experts_per_tok=2, eos_token_id=2),
    "olmo2": _decoder("Olmo2Model", eos_token_id=2),
    "opt": _decoder("OPTModel", _SMALL | {"ffn_dim": 48, "word_embed_proj_dim": 32}),
    "phi3": _decoder("Phi3Model", bos_token_id=1, eos_token_id=2),
    "qwen2": _decoder("Qwen2Model"),
    "qwen3": _decoder("Qwen3Model"),
    "qwen3_moe": _decoder(
        "Qwen3MoeModel", experts=True, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=24
    ),
    "roberta": Architecture("RobertaModel", _SMALL | {"pad_token_id": 1, "max_position_embeddings": 42}),
    "smollm3": _decoder("SmolLM3Model", bos_token_id=1, eos_token_id=2, no_rope_layers=[1, 0]),
    "stablelm": _decoder("StableLmModel", use_qkv_bias=True),
    "t5": Architecture(
        "T5Model",
        {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4, "vocab_size": 64,
         "relative_attention_num_buckets": 8},
    ),
    "vit": Architecture("ViTModel", _SMALL | {"image_size": 8, "patch_size": 4}, "image"),
    "whisper": Architecture(
        "WhisperModel",
        {"d_model": 32, "encoder_layers": 2, "decoder_layers": 1, "encoder_attention_heads": 4,
         "decoder_attention_heads": 4, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "num_mel_bins": 8,
         "max_source_positions": 9, "vocab_size": 64, "pad_token_id": 0, "bos_token_id": 1,
         "eos_token_id": 2, "decoder_start_token_id": 1},
        "audio",
    ),
}  # fmt: skip

INSTALLED = Version(transformers.__version__)


def since(version: str) -> pytest.MarkDecorator:
    """Leaves a test out with an older transformers."""
    return pytest.mark.skipif(Version(version) > INSTALLED, reason=f"needs transformers {version}")


# Attention off the interface, seen at its softmax, with a bias that is made of the hidden states.
DISENTANGLED = Architecture(
    "DebertaV2Model",
    _SMALL | {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "max_relative_positions": 16},
)
# Layers that ask for another attention than the interface's, or for what is no softmax of products.
WHOLE_ONLY = {
    "longformer": Architecture("LongformerModel", _SMALL | {"attention_window": 4}),
    "mamba": Architecture(
        "MambaModel",
        {"hidden_size": 32, "num_hidden_layers": 2, "vocab_size": 64, "state_size": 4, "time_step_rank": 4}, causal=True,
    ),
}  # fmt: skip


def build(architecture: Architecture, dtype: torch.dtype = torch.float32, seed: int = 0) -> PreTrainedModel:
    """The model with seeded random weights; norms, biases and sinks are made random as well."""
    torch.manual_seed(seed)
    model_class = getattr(transformers, architecture.model)
    model = model_class(model_class.config_class(**architecture.config)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model.to(dtype)


@functools.cache
def shared(architecture: Architecture, dtype: torch.dtype = torch.float32) -> Explainer:
    """An explainer for the tests of a process that change neither it nor its model: layers are validated once."""
    model = build(architecture, dtype)
    if getattr(model.config, "attn_logit_softcapping", None):  # which older fused attention leaves out
        model.set_attn_implementation("eager")
    return Explainer(model)


def example(
    architecture: Architecture, tokens: int = 9, padding: int = 0, dtype: torch.dtype = torch.float32
) -> dict[str, Tensor]:
    """One input; `padding` tokens on the right are masked."""
    generator = torch.Generator().manual_seed(tokens)
    if architecture.inputs == "image":
        return {"pixel_values": torch.randn(1, 3, 8, 8, generator=generator).to(dtype)}
    if architecture.inputs == "audio":
        return {"input_features": torch.randn(1, 8, 18, generator=generator).to(dtype)}
    ids = torch.randint(3, 64, (1, tokens + padding), generator=generator)
    mask = torch.ones_like(ids)
    if padding:
        mask[:, tokens:] = 0
        ids[:, tokens:] = architecture.config.get("pad_token_id", 0)
    return {"input_ids": ids, "attention_mask": mask}
