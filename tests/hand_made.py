"""A model whose maps are known by hand: every head attends to all tokens alike, and nothing else happens.

`u_j^h` is the mean of the h-th slices of the tokens, and `z'_j = z_j + sum_h W_h u_j^h` with `W_h` a
multiple of the h-th slice's identity.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS


class Config(PretrainedConfig):
    model_type = "hand_made"

    def __init__(self, heads: int = 2, dim: int = 6, layers: int = 1, gains: Any = (1.0, 1.0), **rest: Any):
        self.num_attention_heads, self.hidden_size, self.num_hidden_layers = heads, dim, layers
        self.gains, self.vocab_size = gains, 50
        super().__init__(**rest)


def plain(module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Any, scaling: float, **_: Any):
    weights = (query @ key.transpose(2, 3) * scaling).softmax(-1)
    return (weights @ value).transpose(1, 2), weights


class Attention(nn.Module):
    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config, self.is_causal = config, False
        self.register_buffer("gains", torch.tensor(config.gains))

    def forward(self, hidden: Tensor) -> Tensor:
        heads, dim = self.config.num_attention_heads, hidden.shape[-1] // self.config.num_attention_heads
        value = hidden.unflatten(-1, (heads, dim)).transpose(1, 2)
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, plain)
        u, _ = attend(self, 0 * value, 0 * value, value, None, scaling=1.0, dropout=0.0)
        return (u * self.gains[:, None]).flatten(-2)


class Layer(nn.Module):
    def __init__(self, config: Config) -> None:
        super().__init__()
        self.attention = Attention(config)

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden + self.attention(hidden)


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


def build(gains: tuple[float, float] = (1.0, 1.0), layers: int = 1) -> Model:
    torch.manual_seed(5)
    model = Model(Config(gains=gains, layers=layers)).eval()
    model.embed.weight.data = torch.randn(50, 6)
    return model
