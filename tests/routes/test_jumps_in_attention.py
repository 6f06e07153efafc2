import torch
from transformers import JetMoeConfig, JetMoeModel

from ligflow import Explainer


def test_a_layer_whose_attention_chooses_experts_too_is_explained() -> None:
    """JetMoE: its attention chooses for all tokens, its MLP for those that are asked about."""
    torch.manual_seed(0)
    config = JetMoeConfig(
        vocab_size=31, hidden_size=16, num_hidden_layers=1, num_key_value_heads=2, kv_channels=4,
        intermediate_size=24, num_local_experts=4, num_experts_per_tok=2,
    )  # fmt: skip
    explainer = Explainer(JetMoeModel(config).double().eval())
    flow = explainer.explain({"input_ids": torch.tensor([[5, 9, 2]])}, quadrature="gauss-legendre:8")
    assert flow.z2z.shape == (1, 3, 3)
    assert flow.routing_changes == []
    assert [note for note in flow.meta["notes"] if note.startswith("z2z: attention chooses experts too")]
    held = explainer.explain({"input_ids": torch.tensor([[5, 9, 2]])}, experts="frozen")
    assert float(held.certificate("z2z").abs().max()) <= 1e-3
