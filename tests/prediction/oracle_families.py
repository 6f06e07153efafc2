"""Tiny random models in float64, the families of the design's table, each with its cuts by the oracle."""
# ruff: noqa: E501

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from transformers import PreTrainedModel

from prediction.oracle import SCORE, OracleResult, Place, Program, Score, Segment, Variable, oracle
from prediction.oracle_cuts import (
    Names,
    assembled,
    embeddings_of,
    one_stack,
    parallel,
    stacked,
    three_levels,
    two_levels,
    undivided,
    whole,
)

WORDS = 23
IDS = (1, 5, 7, 9, 11, 6, 3)
NEUTRAL = (1, 4, 4, 4, 4, 4, 4)  # the first token is kept
_SIZE: dict[str, Any] = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 20, "vocab_size": WORDS,
    "max_position_embeddings": 20, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
_GROUPED = _SIZE | {"num_key_value_heads": 2, "head_dim": 4}
_GPT2: dict[str, Any] = {
    "n_embd": 16, "n_layer": 2, "n_head": 4, "n_inner": 20, "vocab_size": WORDS, "n_positions": 20, "bos_token_id": 1,
    "eos_token_id": 2,
}  # fmt: skip


@dataclass(frozen=True)
class Family:
    """A model class with its config, how it is cut, and where its score is read."""

    model: str
    config: Mapping[str, Any]
    program: Callable[[nn.Module], Program]
    position: int | None = -1  # of the logits; None: one set of logits, of classes
    reference: tuple[int, ...] = NEUTRAL
    routers: Mapping[str, Callable[[nn.Module, Tensor, Tensor], Tensor]] = field(default_factory=dict)
    inputs: Callable[[], dict[str, Tensor]] = lambda: {"input_ids": torch.tensor([IDS])}
    starts: Callable[[PreTrainedModel], tuple[Tensor, ...]] | None = (
        None  # the reference, if not of `reference`
    )
    gain: float = 1.0
    seed: int = 0
    step: float = 1.0  # how far the reference lies on the way to its own tokens

    def built(self) -> PreTrainedModel:
        """Seeded weights large enough that attention is far from uniform; norms, biases and sinks random."""
        torch.manual_seed(self.seed)
        kind = getattr(transformers, self.model)
        model = kind(kind.config_class(**self.config))
        model.config._experts_implementation = "eager"  # fused kernels have no float64
        generator = torch.Generator().manual_seed(self.seed)
        with torch.no_grad():
            for parameter in model.parameters():
                drawn = torch.randn(parameter.shape, generator=generator)
                if parameter.ndim > 1:
                    parameter.copy_(self.gain * drawn / parameter.shape[-1] ** 0.5)
                else:
                    parameter.add_(0.3 * drawn)
        return model.double().eval().requires_grad_(False)

    def cuts(self, model: nn.Module) -> Program:
        """The program with the routers to hold: those whose names end as `routers` says."""
        names = [name for name, _ in model.named_modules()]
        held = {n: weigh for end, weigh in self.routers.items() for n in names if n.endswith(end)}
        return replace(self.program(model), routers=held)

    def references(self, model: PreTrainedModel) -> tuple[Tensor, ...]:
        """The embeddings of the reference's tokens, as the embedding itself gives them."""
        if self.starts:
            return self.starts(model)
        embed = model.get_input_embeddings()
        own = embed(self.inputs()["input_ids"])[0]
        return (own + self.step * (embed(torch.tensor(self.reference)) - own),)

    def score(self) -> Score:
        def logprob(outputs: Any) -> Tensor:
            logits = outputs.logits if self.position is None else outputs.logits[:, self.position]
            return logits.log_softmax(-1)[:, 1]

        return logprob

    def explained(self, model: PreTrainedModel, points: int = 64, attention: str = "moved") -> OracleResult:
        program, inputs = self.cuts(model), self.inputs()
        return oracle(program, model, inputs, self.references(model), self.score(), points, attention)


_GPT2_NAMES = Names("transformer.h", "attn.c_proj", Place("ln_2", "in"))
_LLAMA = Names("model.layers", "self_attn.o_proj", Place("post_attention_layernorm", "in"))
_GEMMA = Names(
    "model.layers",
    "self_attn.o_proj",
    Place("pre_feedforward_layernorm", "in"),
    silent="post_attention_layernorm",
)
_OLMO2 = replace(_GEMMA, middle=Place("mlp", "in"))
_NEOX = Names("gpt_neox.layers", "attention.dense")
_OPT = Names("model.decoder.layers", "self_attn.out_proj", Place("final_layer_norm", "in"), "fc2")
_FALCON = Names("transformer.h", "self_attention.dense")
_BERT = Names(
    "bert.encoder.layer", "attention.output.dense", Place("attention.output.LayerNorm"), "output.dense",
    closing="output.LayerNorm",
)  # fmt: skip
_ALBERT = Names(
    "albert.encoder.albert_layer_groups.0.albert_layers.0", "attention.dense", Place("attention.LayerNorm"),
    "ffn_output", closing="full_layer_layer_norm", repeated=True,
)  # fmt: skip
_MODERNBERT = Names("model.layers", "attn.Wo", Place("mlp_norm", "in"))
_VIT = Names("vit.layers", "attention.o_proj", Place("layernorm_after", "in"))


def _one(names: Names, build: Any = two_levels, first_token: int = 0) -> Callable[[nn.Module], Program]:
    return lambda model: one_stack(model, names, build, first_token)


def mixtral_weights(router: nn.Module, logits: Tensor, choice: Tensor) -> Tensor:
    """Softmax over all experts, then over what is chosen."""
    chosen = logits.softmax(-1).gather(1, choice)
    return chosen / chosen.sum(-1, keepdim=True)


def gpt_oss_weights(router: nn.Module, logits: Tensor, choice: Tensor) -> Tensor:
    return logits.gather(1, choice).softmax(-1)


def deepseek_weights(router: nn.Module, logits: Tensor, choice: Tensor) -> Tensor:
    chosen = logits.sigmoid().gather(1, choice)
    return router.routed_scaling_factor * chosen / (chosen.sum(-1, keepdim=True) + 1e-20)


_STACK = 2  # layers of the encoder, and of the decoder


def _t5(model: nn.Module) -> Program:
    encoder = Names(
        "encoder.block", "layer.0.SelfAttention.o", Place("layer.1", "in"), "layer.1.DenseReluDense",
        passes=True, stream="encoder", mark="encoder ",
    )  # fmt: skip
    decoder = Names(
        "decoder.block", "layer.0.SelfAttention.o", Place("layer.2", "in"), "layer.2.DenseReluDense",
        passes=True, between=Place("layer.1", "in"), cross="layer.1.EncDecAttention.o",
        stream="decoder", mark="decoder ", first=_STACK,
    )  # fmt: skip
    encoded = Variable("encoded", Place("encoder.final_layer_norm"), stream="encoder")
    return _two_stacks(encoder, decoder, encoded, "encoder.embed_tokens", "decoder.embed_tokens")


def _bart(model: nn.Module) -> Program:
    encoder = Names(
        "model.encoder.layers", "self_attn.out_proj", Place("self_attn_layer_norm"), "fc2", closing="final_layer_norm",
        stream="encoder", mark="encoder ",
    )  # fmt: skip
    decoder = Names(
        "model.decoder.layers", "self_attn.out_proj", Place("encoder_attn_layer_norm"), "fc2",
        closing="final_layer_norm", between=Place("self_attn_layer_norm"), cross="encoder_attn.out_proj",
        stream="decoder", mark="decoder ", first=_STACK,
    )  # fmt: skip
    return _two_stacks(encoder, decoder, None, "model.encoder.embed_tokens", "model.decoder.embed_tokens")


def _two_stacks(encoder: Names, decoder: Names, encoded: Variable | None, *embeddings: str) -> Program:
    """The encoder's output is a variable of every decoder layer; without a norm it is its last layer's."""
    top = encoder.name("z", _STACK)
    memory = encoded.name if encoded else top
    first, second = (Variable(f"{n} of embeddings", Place(n), stream=n.split(".")[-2]) for n in embeddings)
    variables, below = stacked(encoder, _STACK, two_levels)
    others, above = stacked(decoder, _STACK, three_levels(memory))
    between = [Segment((top,), (memory,), cut="encoder head")] if encoded else []
    segments = [
        Segment((first.name,), (encoder.name("z", 0),), cut="embeddings"),
        *below,
        *between,
        Segment((second.name,), (decoder.name("z", 0),), cut="decoder embeddings"),
        *above,
        Segment((decoder.name("z", _STACK),), (SCORE,), cut="head"),
    ]
    variables = [first, second, *variables, *([encoded] if encoded else []), *others]
    return assembled(variables, segments, heads=4, embeddings=(first.name, second.name))


def _two_inputs() -> dict[str, Tensor]:
    return {"input_ids": torch.tensor([IDS]), "decoder_input_ids": torch.tensor([[2, 8, 12, 5, 14]])}


def _two_starts(model: PreTrainedModel) -> tuple[Tensor, ...]:
    embed = model.get_encoder().get_input_embeddings()
    return embed(torch.tensor(NEUTRAL)), embed(torch.tensor([2, 4, 4, 4, 4]))


def encoder_starts(model: PreTrainedModel) -> tuple[Tensor, ...]:
    """The decoder's tokens, which are the answer's, are kept."""
    return _two_starts(model)[0], model.get_encoder().get_input_embeddings()(torch.tensor([2, 8, 12, 5, 14]))


def _patches(model: PreTrainedModel) -> tuple[Tensor, ...]:
    embed = model.get_input_embeddings()
    return (embed(torch.zeros(1, 3, 8, 8, dtype=torch.float64))[0],)


def _image() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {"pixel_values": torch.randn(1, 3, 8, 8, generator=generator, dtype=torch.float64)}


def _sharing(cut: str, streams: bool) -> Callable[[nn.Module], Program]:
    """Late layers read keys and values of early ones, and each a vector of its own for every token.

    Cut by `layer`; at the `heads`, z -> (u, k, v), (u, z) -> z'; or at `x` besides. With `streams` those of a
    layer stand before its examples.
    """

    def program(model: nn.Module) -> Program:
        layers, count = "model.layers", model.config.num_hidden_layers
        shared, axis = {2: 0, 3: 1}, int(streams)  # sliding and full attention

        def z(layer: int) -> Variable:
            inside = layer < count
            place = Place(f"{layers}.{layer if inside else count - 1}", "in" if inside else "out", axis=axis)
            return Variable(f"z{layer}", place, token_axis=axis)

        def keys(producer: int) -> tuple[Variable, ...]:
            if producer not in shared.values():
                return ()
            norms = {f"{kind} of {producer}": f"{layers}.{producer}.self_attn.{kind}_norm" for kind in "kv"}
            return tuple(Variable(name, Place(norm)) for name, norm in norms.items())

        names = Names(layers, "self_attn.o_proj", _GEMMA.middle, silent=_GEMMA.silent)
        extra = [
            Variable(f"per layer {n}", Place(f"{layers}.{n}", "in", 2 if streams else 1))
            for n in range(count)
        ]
        variables = [embeddings_of(model), *extra, *(z(layer) for layer in range(count + 1))]
        segments = [Segment(("embeddings",), ("z0", *(v.name for v in extra)), cut="embeddings")]
        for layer in range(count):
            at, now, after, own = f"layer {layer}", f"z{layer}", f"z{layer + 1}", f"per layer {layer}"
            read, made = ([v.name for v in keys(n)] for n in (shared.get(layer, -1), layer))
            u, x = names.u(layer), names.x(layer)
            variables += keys(layer)
            if cut == "layer":
                segments.append(Segment((now, own, *read), (after, *made), cut=at))
                continue
            variables.append(u)
            segments.append(Segment((now, *read), (u.name, *made), cut=at))
            past = ("past attention", layer, now)
            if cut == "heads":
                segments.append(Segment((u.name, now, own), (after,), skip=past))
            else:
                variables.append(x)
                segments += [Segment((u.name, now), (x.name,), skip=past), Segment((x.name, own), (after,))]
        segments.append(Segment((f"z{count}",), (SCORE,), cut="head"))
        return assembled(variables, segments, heads=model.config.num_attention_heads)

    return program


_SHARED = _GROUPED | {
    "num_hidden_layers": 4, "head_dim": 8, "sliding_window": 4, "num_kv_shared_layers": 2,
    "layer_types": ["sliding_attention", "full_attention"] * 2, "vocab_size_per_layer_input": WORDS,
    "hidden_size_per_layer_input": 6,
}  # fmt: skip
_GEMMA3N = _SHARED | {"altup_num_inputs": 3, "laurel_rank": 4, "activation_sparsity_pattern": [0.0] * 4}

FAMILIES = {
    "gpt2": Family("GPT2LMHeadModel", _GPT2, _one(_GPT2_NAMES), gain=1.5),
    "gpt2 by layer": Family("GPT2LMHeadModel", _GPT2, _one(_GPT2_NAMES, whole()), gain=1.5),
    "gpt2 undivided": Family("GPT2LMHeadModel", _GPT2, undivided, gain=1.5),
    "llama": Family("LlamaForCausalLM", _GROUPED, _one(_LLAMA)),
    "qwen3": Family("Qwen3ForCausalLM", _GROUPED | {"head_dim": 16}, _one(_LLAMA), seed=2),
    "gemma3": Family(
        "Gemma3ForCausalLM",
        _GROUPED | {"hidden_size": 32, "head_dim": 16, "sliding_window": 4, "query_pre_attn_scalar": 16,
                    "layer_types": ["sliding_attention", "full_attention"]},
        _one(_GEMMA),
    ),
    "gemma2": Family(
        "Gemma2ForCausalLM",
        _GROUPED | {"hidden_size": 32, "head_dim": 16, "sliding_window": 4, "query_pre_attn_scalar": 16,
                    "layer_types": ["sliding_attention", "full_attention"], "attn_logit_softcapping": 2.0},
        _one(_GEMMA),
    ),
    "olmo2": Family("Olmo2ForCausalLM", _GROUPED, _one(_OLMO2), seed=2),
    "gpt_neox": Family("GPTNeoXForCausalLM", _SIZE | {"rotary_pct": 0.5}, _one(_NEOX, parallel)),
    "opt": Family(
        "OPTForCausalLM",
        _SIZE | {"ffn_dim": 20, "word_embed_proj_dim": 12, "activation_function": "gelu"},
        _one(_OPT),
    ),
    "falcon": Family("FalconForCausalLM", _SIZE, _one(_FALCON, parallel)),
    "mixtral": Family(
        "MixtralForCausalLM",
        _GROUPED | {"num_local_experts": 4, "num_experts_per_tok": 2},
        _one(_LLAMA),
        routers={"mlp.gate": mixtral_weights},
    ),
    "gpt_oss": Family(
        "GptOssForCausalLM",
        _GROUPED | {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 4,
                    "layer_types": ["sliding_attention", "full_attention"],
                    "rope_parameters": {"rope_type": "default", "rope_theta": 1e4}},
        _one(_LLAMA),
        routers={"mlp.router": gpt_oss_weights},
    ),
    "deepseek_v3": Family(
        "DeepseekV3ForCausalLM",
        _SIZE | {"first_k_dense_replace": 1, "n_routed_experts": 4, "num_experts_per_tok": 2, "n_shared_experts": 1,
                 "moe_intermediate_size": 12, "n_group": 2, "topk_group": 1, "kv_lora_rank": 8, "q_lora_rank": 8,
                 "qk_rope_head_dim": 4, "qk_nope_head_dim": 4, "v_head_dim": 6,
                 "num_key_value_heads": 4},
        _one(_LLAMA),
        seed=4, routers={"mlp.gate": deepseek_weights},
    ),
    "llama4": Family(
        "Llama4ForCausalLM",
        _GROUPED | {"num_local_experts": 4, "num_experts_per_tok": 1, "intermediate_size": 12, "intermediate_size_mlp": 20,
                    "moe_layers": [1], "no_rope_layers": [1, 1]},
        _one(replace(_LLAMA, branch="feed_forward")),
        step=0.05,  # so near that no token changes its expert
    ),
    "bert": Family("BertForMaskedLM", _SIZE, _one(_BERT), position=3, gain=1.5),
    "bert classifier": Family("BertForSequenceClassification", _SIZE | {"num_labels": 3}, _one(_BERT), position=None, gain=1.5),
    "bert by layer": Family("BertForMaskedLM", _SIZE, _one(_BERT, whole()), position=3, gain=1.5),
    "roberta": Family(
        "RobertaForMaskedLM",
        _SIZE | {"pad_token_id": 1, "bos_token_id": 0},
        _one(replace(_BERT, layers="roberta.encoder.layer")),
        position=3,
        reference=(0, 1, 1, 1, 1, 1, 2),
        inputs=lambda: {"input_ids": torch.tensor([[0, 5, 7, 9, 11, 6, 2]])},
        gain=1.5,
    ),
    "modernbert": Family(
        "ModernBertForMaskedLM",
        _SIZE | {"local_attention": 6, "global_attn_every_n_layers": 2, "cls_token_id": 1, "sep_token_id": 2},
        _one(_MODERNBERT),
        position=3,
    ),
    "albert": Family(
        "AlbertForMaskedLM", _SIZE | {"embedding_size": 12, "num_hidden_layers": 3}, _one(_ALBERT), position=3, gain=1.5,
    ),
    "t5": Family(
        "T5ForConditionalGeneration",
        {"d_model": 16, "d_kv": 4, "d_ff": 20, "num_layers": 2, "num_heads": 4, "vocab_size": WORDS,
         "relative_attention_num_buckets": 8, "feed_forward_proj": "gated-gelu", "decoder_start_token_id": 2},
        _t5,
        inputs=_two_inputs,
        starts=_two_starts,
        gain=0.7, seed=2,
    ),
    "bart": Family(
        "BartForConditionalGeneration",
        {"d_model": 16, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
         "decoder_attention_heads": 4, "encoder_ffn_dim": 20, "decoder_ffn_dim": 20, "vocab_size": WORDS,
         "max_position_embeddings": 20, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
         "decoder_start_token_id": 2},
        _bart,
        inputs=_two_inputs,
        starts=_two_starts,
        gain=1.5,
    ),
    "vit": Family(
        "ViTForImageClassification",
        _SIZE | {"image_size": 8, "patch_size": 4, "num_labels": 3},
        _one(_VIT, first_token=1),
        position=None,
        inputs=_image,
        starts=_patches,
        gain=0.7, seed=5,
    ),
    "gemma3n": Family("Gemma3nForCausalLM", _GEMMA3N, _sharing("heads", streams=True), step=0.25),
    "gemma3n by layer": Family("Gemma3nForCausalLM", _GEMMA3N, _sharing("layer", streams=True), step=0.25),
    "gemma4": Family(
        "Gemma4ForCausalLM", _SHARED | {"global_head_dim": 8}, _sharing("x", streams=False), step=0.15, seed=1
    ),
    "deberta": Family(
        "DebertaV2ForSequenceClassification",
        _SIZE | {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "max_relative_positions": 16,
                 "num_labels": 3},
        _one(Names("deberta.encoder.layer", ""), whole()),
        position=None,
    ),
    "falcon_h1": Family(
        "FalconH1ForCausalLM",
        _GROUPED | {"mamba_d_ssm": 16, "mamba_n_heads": 4, "mamba_d_head": 4, "mamba_n_groups": 1, "mamba_d_state": 4,
                    "mamba_chunk_size": 4, "mamba_d_conv": 3},
        _one(Names("model.layers", ""), whole()),
    ),
    "zamba2": Family(
        "Zamba2ForCausalLM",
        _SIZE | {"hidden_size": 32, "num_hidden_layers": 4, "layers_block_type": ["mamba", "hybrid", "mamba", "hybrid"],
                 "num_mem_blocks": 1, "mamba_d_state": 4, "mamba_d_conv": 3, "n_mamba_heads": 4, "mamba_ngroups": 1,
                 "chunk_size": 4, "num_key_value_heads": 4, "adapter_rank": 4, "time_step_min": 1e-30, "use_shared_attention_adapter": False},
        _one(Names("model.layers", ""), whole("embeddings")),
        step=0.25,
        seed=1,
    ),
}  # fmt: skip
