"""Configs of any model type made tiny: one rule a kind of field, applied to a config and all its parts.

A rule looks at a field's name and old value. What the rules get wrong for a type is put right by
`exceptions.json`, which holds fields and their values.
"""

import re
from collections.abc import Mapping
from typing import Any

HIDDEN, HEADS, GROUPS, HEAD_DIM, INNER, VOCABULARY, LAYERS, EXPERTS = 32, 4, 2, 8, 48, 99, 2, 4

# The first pattern that a field's name matches in full gives its new value; no field grows.
RULES: tuple[tuple[str, int], ...] = (
    (
        r"num_(attention_)?(key_value|kv)_heads|.*num_(key_value|kv)_heads|n_kv_heads?|"
        r"multi_query_group_num",
        GROUPS,
    ),
    (r"(num_|n_)?(.*_)?(attention_)?heads?|n_heads?|num_head", HEADS),
    (r".*(q_lora_rank|kv_lora_rank|_rank|lora_rank_.*)", 16),
    (r"rotary_dim", HEAD_DIM),
    (r"qk_rope_head_dim|qk_nope_head_dim|index_head_dim", HEAD_DIM),
    (r"(.*_)?(head_dim|d_kv|d_head|kv_channels|head_size|.*_head_dim|attention_head_size)", HEAD_DIM),
    (r"(num|n)_shared_experts|moe_num_shared_experts", 1),
    (r"num_experts_per_tok(en)?|(moe_|num_)?top_?k(_experts)?|moe_k|num_selected_experts", 2),
    (r"n_group|num_expert_groups?|topk_group", 1),
    (r"(num_|n_|moe_num_|num_local_)?(routed_)?(.*_)?experts", EXPERTS),
    (r"num_nextn_predict_layers|num_mtp_layers|first_k_dense_replace|num_dense_layers", 1),
    (r"(num_|n_)?(.*_)?(hidden_)?(layers?|blocks?|depth)", LAYERS),
    (r".*vocab_?size|.*num_embeddings|.*vocab_size_.*", VOCABULARY),
    (
        r"max_(source_|target_)?positions?(_embeddings)?|(max_)?n_positions|n_ctx|"
        r"max_seq_len.*|seq_length|max_seq_length|context_length|max_length",
        64,
    ),
    (
        r"(.*_)?(intermediate_size|ffn_dim|d_ff|ffn_hidden_size|inner_dim|d_inner|"
        r"n_inner|hidden_dim|mlp_dim|ffn_intermediate_size)(_mlp)?",
        INNER,
    ),
    (
        r"(.*_)?(hidden_size|d_model|n_embd|embed_dim|dim|embedding_size|model_dim|"
        r"projection_dim|hidden_sizes?|embedding_dim|proj_dim|output_dim|emb_dim|"
        r"encoder_dim|embed_dims?|out_hidden_size|feature_size|width)(_.*)?",
        HIDDEN,
    ),
    (r"(.*_)?image_size", 8),
    (r"(.*_)?patch_size", 4),
    (
        r"sliding_window(_size)?|local_attention|attention_window|local_window|attention_chunk_size|"
        r"window_size",
        4,
    ),
    (r"num_conv_pos_embedding.*", 4),
    (r"num_queries", 8),
    (r"state_size|ssm_state_size|mamba_d_state|mamba_n_heads|n_groups|mamba_.*", 8),
)  # fmt: skip
_TOKEN = re.compile(
    r".*_token_(id|index)|.*_token|.*(bos|eos|pad|sep|cls|image|video|audio|start|end)_id|.*_index"
)
_KEPT = frozenset(("num_labels", "num_channels", "num_feat_extract_layers", "num_adapter_layers"))
_DERIVED = frozenset(("out_features", "out_indices", "stage_names", "id2label", "label2id"))


# In place of a backbone of timm, which need not be installed: features of the same stages.
_RESNET = {"model_type": "resnet", "embedding_size": 16, "hidden_sizes": [32] * 4, "depths": [1] * 4}


Exceptions = Mapping[str, Mapping[str, Any]]


def shrink(config: Mapping[str, Any], exceptions: Exceptions | None = None) -> dict[str, Any]:
    """The fields of a config (and of its parts), small. Token ids stay apart and inside the vocabulary.

    `exceptions` are fields by model type; a part has those of its own type.
    """
    return _shrunk(dict(config), {}, exceptions or {})


def _shrunk(config: dict[str, Any], ids: dict[int, int], exceptions: Exceptions) -> dict[str, Any]:
    own = _by_rules(config, ids, exceptions)
    return _with(own, exceptions.get(config.get("model_type", ""), {}))


def _by_rules(config: dict[str, Any], ids: dict[int, int], exceptions: Exceptions) -> dict[str, Any]:
    layers = {value for name, value in config.items() if _is_layers(name) and isinstance(value, int)}
    if "depths" in config:
        layers = set()  # one entry a stage
    small = {
        name: _field(name, value, layers, ids, exceptions)
        for name, value in config.items()
        if name not in _DERIVED
    }
    if config.get("num_key_value_heads") and config["num_key_value_heads"] == config.get(
        "num_attention_heads"
    ):
        small["num_key_value_heads"] = small["num_attention_heads"]
    if "head_dim" in config and config["head_dim"] is None:
        small["head_dim"] = HEAD_DIM
    if config.get("qk_head_dim"):
        small["qk_head_dim"] = small["qk_nope_head_dim"] + small["qk_rope_head_dim"]
    if "depths" in config and isinstance(config.get("image_size"), int):
        small["image_size"] = 64  # every stage halves it
    return small


def _is_layers(name: str) -> bool:
    return re.fullmatch(r"(num_|n_)?(.*_)?(hidden_)?(layers?|blocks?|depth)", name) is not None


def _field(name: str, value: Any, layers: set[int], ids: dict[int, int], exceptions: Exceptions) -> Any:
    if isinstance(value, Mapping):
        return _mapping(name, dict(value), ids, exceptions)
    if isinstance(value, bool) or value is None or name in _KEPT:
        return value
    if isinstance(value, int):
        return _token(value, ids) if _TOKEN.fullmatch(name) else _small(name, value)
    if isinstance(value, list | tuple):
        return _list(name, list(value), layers, ids)
    return value


def _small(name: str, value: int) -> int:
    for pattern, small in RULES:
        if re.fullmatch(pattern, name):
            return min(value, small)
    return value


def _list(name: str, value: list[Any], layers: set[int], ids: dict[int, int]) -> list[Any]:
    """One entry a layer: two of them, of different kinds if there are some. Sizes: each by its rule."""
    if len(value) in layers and len(value) > LAYERS and not name.startswith("conv_"):
        return _two(value)
    if name == "mrope_section":
        return [2, 1, 1]
    if name == "depths":
        return [min(one, 2) for one in value]
    if all(isinstance(one, int) and not isinstance(one, bool) for one in value):
        if _TOKEN.fullmatch(name):
            return [_token(one, ids) for one in value]
        heads = "heads" in name  # hierarchical models: 3, 6, 12, 24
        return [HEADS if heads and one > 2 else _small(name, one) for one in value]
    return value


def _mapping(name: str, value: dict[str, Any], ids: dict[int, int], exceptions: Exceptions) -> dict[str, Any]:
    """A part of the config, fields of single layers (the last of two then stands for them), or plain data."""
    if name == "per_layer_config":
        return {str(LAYERS - 1): _shrunk(dict(one), ids, exceptions) for one in list(value.values())[:1]}
    if value.get("model_type") == "timm_backbone":
        return _RESNET | {"out_indices": value["out_indices"]}
    if name.endswith("_config") or "model_type" in value or "hidden_size" in value:
        return _shrunk(value, ids, exceptions)
    return value | ({"mrope_section": [2, 1, 1]} if "mrope_section" in value else {})


def _two(value: list[Any]) -> list[Any]:
    other = next((one for one in value if one != value[0]), value[-1])
    return [value[0], other]


def _token(value: int, ids: dict[int, int]) -> int:
    if 0 <= value < VOCABULARY // 2 or value < 0:
        return value
    return ids.setdefault(value, VOCABULARY - 1 - len(ids) % (VOCABULARY // 3))


def _with(config: dict[str, Any], exceptions: Mapping[str, Any]) -> dict[str, Any]:
    """Exceptions name fields; those of a part are under its name."""
    for name, value in exceptions.items():
        part = config.get(name)
        is_part = isinstance(part, Mapping) and (name.endswith("_config") or "model_type" in part)
        nested = isinstance(value, Mapping) and is_part
        config[name] = _with(dict(part), value) if nested and part is not None else value
    return config
