"""Relevances as a graph of MIB: its names, and the numbers of the prediction."""

import json

import pytest
import torch
import transformers

from ligflow import Explainer, LigflowError, Prediction
from ligflow.evaluation.circuit_scores import circuit_scores


def explained(cut: str) -> Prediction:
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=16, hidden_size=8, intermediate_size=12, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, initializer_range=0.5,
    )  # fmt: skip
    explainer = Explainer(transformers.LlamaForCausalLM(config).double().eval())
    inputs = {"input_ids": torch.tensor([[3, 7, 5, 9, 4]])}
    return explainer.explain_prediction(inputs, answer=6, reference=torch.tensor([3, 8, 5, 9, 4]), cut=cut)


def test_scores_of_nodes() -> None:
    prediction = explained("modules")
    graph = json.loads(json.dumps(circuit_scores(prediction, 8)))
    assert graph["cfg"] == {"n_layers": 2, "n_heads": 2, "parallel_attn_mlp": False, "d_model": 8}
    assert [*graph["nodes"]] == ["input", "a0.h0", "a0.h1", "m0", "a1.h0", "a1.h1", "m1", "logits"]
    assert graph["nodes"]["a1.h0"]["score"] == pytest.approx(float(prediction.heads[1][0].sum()))
    assert graph["nodes"]["m0"]["score"] == pytest.approx(float(prediction.mlps[0].sum()))
    assert graph["edges"] == {}


def test_without_heads() -> None:
    with pytest.raises(LigflowError, match="cut='modules'"):
        circuit_scores(explained("layer"), 8)
