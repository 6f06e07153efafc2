"""A copy whose layers have their weights in random order."""

import torch

from architectures import ARCHITECTURES, build
from ligflow.evaluation.shuffled_weights import with_shuffled_weights


def test_matrices_of_layers_keep_their_values_and_lose_their_places() -> None:
    model = build(ARCHITECTURES["bert"])
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    twin = dict(with_shuffled_weights(model).named_parameters())
    for name, weight in model.named_parameters():
        assert torch.equal(weight, before[name])
        moved = ".layer." in name and weight.ndim > 1
        assert torch.equal(twin[name], weight) != moved
        assert torch.equal(twin[name].flatten().sort().values, weight.flatten().sort().values)


def test_the_seed_decides() -> None:
    model = build(ARCHITECTURES["bert"])
    first, again, other = (
        with_shuffled_weights(model, seed).encoder.layer[0].output.dense.weight for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
