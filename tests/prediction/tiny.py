"""Tiny random models with a head, in float64, and what tests ask of them."""

import torch
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedModel

from ligflow.explainer.prepared_model import PreparedModel
from ligflow.prediction.chain import Accuracy, Chain, chain
from ligflow.prediction.graph import Built, Runs, both_runs, graph_of
from ligflow.prediction.recorded import recorded_layers

SIZES = {"vocab_size": 61, "max_position_embeddings": 32}


def strong(model: PreTrainedModel, factor: float = 4.0) -> PreTrainedModel:
    """The model in float64 with larger weights, so that it is far from affine."""
    model = model.double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(factor)
    return model


def llama(layers: int = 2) -> PreTrainedModel:
    """Pre-norm, rotary, grouped queries."""
    torch.manual_seed(0)
    config = LlamaConfig(
        **SIZES, hidden_size=16, intermediate_size=24, num_hidden_layers=layers, num_attention_heads=4,
        num_key_value_heads=2, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    return strong(LlamaForCausalLM(config))


def gpt2(layers: int = 2) -> PreTrainedModel:
    """Pre-norm with biases and learned positions."""
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=61, n_positions=32, n_embd=16, n_layer=layers, n_head=4, bos_token_id=1, eos_token_id=2
    )
    return strong(GPT2LMHeadModel(config))


def ids(count: int = 5) -> Tensor:
    """Tokens of one example."""
    return torch.randint(3, 61, (1, count), generator=torch.Generator().manual_seed(1))


def runs_of(
    model: PreTrainedModel | PreparedModel, tokens: Tensor, token: int = 7, kept: int = 1, **held: bool
) -> tuple[Runs, PreTrainedModel]:
    """The two runs for the next token's log-probability, the first tokens kept and others replaced by one."""
    whole = model if isinstance(model, PreparedModel) else PreparedModel(model)
    copy = whole.now()
    own = copy.placement.model
    assert isinstance(own, PreTrainedModel)
    layers = recorded_layers(copy, {"input_ids": tokens}, None).layers
    with torch.no_grad():
        real = own.get_input_embeddings()(tokens)
        reference = own.get_input_embeddings()(torch.full_like(tokens, 2)).clone()
    reference[:, :kept] = real[:, :kept]
    runs = both_runs(
        own, {"input_ids": tokens}, layers, reference, None,
        lambda outputs: outputs.logits.log_softmax(-1)[:, -1, token : token + 1], **held,
    )  # fmt: skip
    return runs, own


def chained(
    model: PreTrainedModel, tokens: Tensor, points: int | None = 31, **more: float
) -> tuple[Built, Chain]:
    """The graph of two runs, and the chain through it."""
    runs, own = runs_of(model, tokens)
    built = graph_of(runs)
    change = (built.scores[0] - built.scores[1]).double()
    return built, chain(built.graph, change, Accuracy(points=points, **more), own)
