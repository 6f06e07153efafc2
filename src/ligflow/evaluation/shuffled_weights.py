"""A copy of a model whose layers have their own weights in random order: what a map must depend on.

If the maps of a method hardly change when a layer's weights are shuffled, they do not tell what the layer
learned [adebayo2018]. The layers are given the same hidden
states as those of the real model, so that nothing but their own weights differs.
"""

import copy

import torch
from torch import nn
from transformers import PreTrainedModel


def with_shuffled_weights(model: PreTrainedModel, seed: int = 0) -> PreTrainedModel:
    """A copy in which the entries of every matrix of the layers are in random order [adebayo2018].

    Norms and biases stay, and so do embeddings: each matrix keeps its values, and loses their places.
    """
    twin = copy.deepcopy(model)
    generator = torch.Generator("cpu").manual_seed(seed)
    lists = [module for module in twin.modules() if isinstance(module, nn.ModuleList)]
    matrices = {id(p): p for one in lists for p in one.parameters() if p.ndim > 1}
    for parameter in matrices.values():
        order = torch.randperm(parameter.numel(), generator=generator, device="cpu").to(parameter.device)
        parameter.data = parameter.data.flatten()[order].reshape(parameter.shape)
    return twin
