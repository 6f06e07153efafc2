"""A model that has nothing but induction: two layers of attention, taught to say what followed a token.

Its texts are ten tokens that differ, then pairs of neighbours among them: the second of a pair is known to be
found by a head of the second layer, which looks for a token that came after the first of the pair.
"""

from functools import cache

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM

from ligflow import Explainer

WORDS, LENGTH, PAIRS = 30, 10, 8


@cache
def inducing() -> Explainer:
    """Two layers of attention alone, taught to say what followed a token when it comes again."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=WORDS, hidden_size=32, intermediate_size=1, num_hidden_layers=2, num_attention_heads=1,
        num_key_value_heads=1, max_position_embeddings=64, bos_token_id=1, eos_token_id=2,
        rope_parameters={"rope_type": "default", "rope_theta": 100.0},
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, 0, 32**-0.5)
    for layer in model.model.layers:
        layer.mlp.down_proj.weight.requires_grad_(False).zero_()
    model.double()  # so that roundings of a processor do not grow into another model
    optimizer = torch.optim.AdamW(
        filter(lambda p: p.requires_grad, model.parameters()), 8e-3, weight_decay=0.1
    )
    generator = torch.Generator().manual_seed(0)
    for _ in range(400):
        texts = texts_of_pairs(generator)
        said = model(texts).logits[:, LENGTH + 1 : -1 : 2].flatten(0, 1)
        loss = cross_entropy(said, texts[:, LENGTH + 2 :: 2].flatten())
        if float(loss.detach()) < 0.02:
            break
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.05
    return Explainer(model.float().eval())


def texts_of_pairs(generator: torch.Generator) -> Tensor:
    """Ten tokens that differ, then pairs of neighbours among them."""
    row = torch.rand(48, WORDS - 3, generator=generator).argsort(1)[:, :LENGTH] + 3
    at = torch.randint(0, LENGTH - 1, (48, PAIRS), generator=generator)
    pairs = torch.stack([row.gather(1, at), row.gather(1, at + 1)], 2).flatten(1)
    return torch.cat([torch.ones(48, 1, dtype=torch.long), row, pairs], 1)
