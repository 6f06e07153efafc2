"""Layers of torch.nn (MultiheadAttention, TransformerEncoder) in all routes, as plain autograd has them."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from ligflow import Explainer
from ligflow.evaluation.conformance import check

pytestmark = pytest.mark.usefixtures("no_shape_checks")
IDS, MASK = torch.tensor([[3, 7, 11, 19, 4]]), torch.tensor([[1, 1, 1, 1, 0]])


class Config(PretrainedConfig):
    model_type = "torch_attention"


class Block(nn.Module):
    def __init__(self, weights: bool) -> None:
        super().__init__()
        self.norm, self.attention = nn.LayerNorm(32), nn.MultiheadAttention(32, 4, batch_first=True)
        self.mlp, self.weights = nn.Sequential(nn.LayerNorm(32), nn.Linear(32, 32), nn.GELU()), weights

    def forward(self, hidden: Tensor) -> Tensor:
        given = self.norm(hidden)
        hidden = hidden + self.attention(given, given, given, need_weights=self.weights)[0]
        return hidden + self.mlp(hidden)


class Model(PreTrainedModel):
    config_class, main_input_name = Config, "input_ids"

    def __init__(self, kind: str) -> None:
        super().__init__(Config())
        self.embedded, self.kind = nn.Embedding(64, 32), kind
        if kind.startswith("encoder"):
            first = kind == "encoder, norm first"
            layer = nn.TransformerEncoderLayer(
                32, 4, 48, activation="gelu", batch_first=True, norm_first=first
            )
            self.stack: Any = nn.TransformerEncoder(layer, 2, enable_nested_tensor=not first)
        else:
            self.stack = nn.ModuleList([Block(kind == "weights") for _ in range(2)])

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        hidden = self.embedded(input_ids)
        if self.kind.startswith("encoder"):
            hidden_keys = None if attention_mask is None else attention_mask == 0
            return self.stack(hidden, src_key_padding_mask=hidden_keys)
        for block in self.stack:
            hidden = block(hidden)
        return hidden


def model_of(kind: str) -> Model:
    torch.manual_seed(0)
    return Model(kind).eval()


@pytest.mark.parametrize("kind", ["weights", "no weights", "encoder", "encoder, norm first"])
def test_attention_of_torch_is_seen_and_equals_autograd(kind: str) -> None:
    explainer = Explainer(model_of(kind))
    flow = explainer.explain({"input_ids": IDS})
    assert flow.routes == ("z2u", "u2z", "z2z")
    assert flow.z2u.shape == (2, 4, 5, 5)
    assert not flow.unmet
    checks = check(explainer, [{"input_ids": IDS}])
    assert all(one.passed for one in checks), [one for one in checks if not one.passed]
    assert all(one.compared for one in checks if one.name.startswith("engine"))


@pytest.mark.parametrize("kind", ["encoder", "encoder, norm first"])
def test_an_encoder_of_torch_leaves_padding_out(kind: str) -> None:
    explainer = Explainer(model_of(kind))
    flow = explainer.explain({"input_ids": IDS, "attention_mask": MASK})
    plain = explainer.explain({"input_ids": IDS[:, :4]})
    assert len(flow.tokens) == 4
    for route in ("z2u", "u2z", "z2z"):
        torch.testing.assert_close(flow.tensors[route], plain.tensors[route], rtol=1e-4, atol=1e-5)
