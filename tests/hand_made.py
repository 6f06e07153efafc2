"""A model whose maps are known by hand: heads read fixed places, and nothing else happens.

`u_j^h` is the mean of the h-th slices of the tokens that its pattern names (by default all), and
`z'_j = M (z_j + sum_h W_h u_j^h)` with `W_h` a multiple of the h-th slice's identity, and M the identity or a
given matrix.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS


class Config(PretrainedConfig):
    model_type = "hand_made"

    def __init__(
        self, heads: int = 2, dim: int = 6, layers: int = 1, gains: Any = (1.0, 1.0), patterns: Any = None,
        mixing: Any = None, **rest: Any,
    ):  # fmt: skip
        self.num_attention_heads, self.hidden_size, self.num_hidden_layers = heads, dim, layers
        self.gains, self.vocab_size = gains, 50
        self.patterns, self.mixing = patterns, mixing
        super().__init__(**rest)


def plain(module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Any, scaling: float, **_: Any):
    scores = query @ key.transpose(2, 3) * scaling
    weights = (scores if mask is None else scores + mask).softmax(-1)
    return (weights @ value).transpose(1, 2), weights


def places(pattern: str, tokens: int) -> Tensor:
    """Which sources [target, source] a head reads: all, the first token, the one before (else itself)."""
    if pattern == "all":
        return torch.ones(tokens, tokens, dtype=torch.bool)
    rows = torch.arange(tokens)
    read = torch.zeros(tokens, tokens, dtype=torch.bool)
    read[rows, {"first": 0 * rows, "previous": (rows - 1).clamp(min=0), "itself": rows}[pattern]] = True
    return read


class Attention(nn.Module):
    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config, self.is_causal = config, False
        self.register_buffer("gains", torch.tensor(config.gains))

    def forward(self, hidden: Tensor) -> Tensor:
        heads, dim = self.config.num_attention_heads, hidden.shape[-1] // self.config.num_attention_heads
        value = hidden.unflatten(-1, (heads, dim)).transpose(1, 2)
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, plain)
        mask = None
        if self.config.patterns is not None:
            read = torch.stack([places(name, hidden.shape[1]) for name in self.config.patterns])[None]
            mask = torch.zeros(read.shape).masked_fill(~read, torch.finfo(torch.float32).min).to(hidden)
        u, _ = attend(self, 0 * value, 0 * value, value, mask, scaling=1.0, dropout=0.0)
        return (u * self.gains[:, None]).flatten(-2)


class Layer(nn.Module):
    def __init__(self, config: Config) -> None:
        super().__init__()
        self.attention = Attention(config)
        size = config.hidden_size
        mixing = torch.eye(size) if config.mixing is None else torch.tensor(config.mixing)
        self.register_buffer("mixing", mixing)

    def forward(self, hidden: Tensor) -> Tensor:
        return (hidden + self.attention(hidden)) @ self.mixing.T


class Model(PreTrainedModel):
    config_class = Config
    base_model_prefix = "model"
    _supports_sdpa = True
    _supports_attention_backend = True

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.embed = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))
        self.post_init()

    def forward(self, input_ids: Tensor, **_: Any) -> Tensor:
        hidden = self.embed(input_ids)
        for layer in self.layers:
            hidden = layer(hidden)
        return hidden


def build(gains: tuple[float, ...] = (1.0, 1.0), layers: int = 1, **more: Any) -> Model:
    torch.manual_seed(5)
    model = Model(Config(heads=len(gains), gains=gains, layers=layers, **more)).eval()
    model.embed.weight.data = torch.randn(50, model.config.hidden_size)
    return model


class Mixing(nn.Module):
    """Lets every token's input see its left neighbour."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, hidden: Tensor) -> Tensor:
        return self.inner(hidden + 0.5 * hidden.roll(1, dims=1))
