"""Which modules of a layer do what, told by the numbers that pass."""

import torch

from ligflow.evaluation.leaf_calls import last_norm, leaf_calls, norms_of, output_projection, same
from recorded_layers import recorded_alone


def test_vectors_are_compared_by_their_size() -> None:
    """A component that rounding changed is nothing in a large vector; in a small one it is another vector."""
    large = torch.tensor([[[1e4, 1e-3]]])
    assert same(large, large + torch.tensor([0.0, 2e-3]))
    assert not same(large / 1e7, large / 1e7 + torch.tensor([0.0, 2e-3]))
    assert not same(large, large[..., :1])


def test_roles_of_the_modules_of_bert() -> None:
    for layer, _ in recorded_alone("bert"):
        calls = leaf_calls(layer)
        module = layer.module.get_submodule
        projection = output_projection(layer, calls)
        assert projection.module is module("attention.output.dense")
        ends = [module("attention.output.LayerNorm"), module("output.LayerNorm")]
        assert [call.module for call in norms_of(calls)] == ends
        last = last_norm(layer, None, calls)
        assert last is not None
        assert last.module is ends[1]
