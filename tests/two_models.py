"""MiniLM, and MiniLM with one head changed, for tests of comparisons."""

import copy

import torch
from transformers import PreTrainedModel

from ligflow.corpus.sources.sentence import Sentence

TEXTS = (
    "The cat slept.", "Nobody saw the old light.", "Rain fell softly.", "She gave him a book.", "Why not?",
    "It was late.", "He ran home again.", "They sang all night.", "Dogs bark.",
)  # fmt: skip
SENTENCES = [Sentence(number, text, f"made:{number + 1}") for number, text in enumerate(TEXTS)]


def perturbed(model: PreTrainedModel, layer: int, head: int) -> PreTrainedModel:
    """A copy of MiniLM with random queries in one head."""
    other = copy.deepcopy(model)
    rows = slice(32 * head, 32 * (head + 1))
    weight = other.encoder.layer[layer].attention.self.query.weight.data
    weight[rows] = weight.std() * torch.randn(32, 384, generator=torch.Generator().manual_seed(0))
    return other
