"""Attention rollout against a walk over all paths through the layers."""

from itertools import product

import pytest
import torch

from ligflow.evaluation.rollout import rollout, with_residual

LAYERS, TOKENS = 3, 4


def shares() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    drawn = torch.rand(LAYERS, TOKENS, TOKENS, generator=generator, dtype=torch.float64).tril()
    return drawn / drawn.sum(-1, keepdim=True)


def test_rollout_is_the_sum_over_all_paths() -> None:
    maps = with_residual(shares())
    found = rollout(maps)
    for target, source in product(range(TOKENS), range(TOKENS)):
        total = sum(
            float(maps[2, target, second] * maps[1, second, first] * maps[0, first, source])
            for first, second in product(range(TOKENS), range(TOKENS))
        )
        assert float(found[target, source]) == pytest.approx(total, abs=1e-12)
    torch.testing.assert_close(found.sum(-1), torch.ones(TOKENS, dtype=torch.float64))


def test_residual_is_half_of_each_row() -> None:
    found = with_residual(torch.tensor([[1.0, 0.0], [0.25, 0.75]]))
    torch.testing.assert_close(found, torch.tensor([[1.0, 0.0], [0.125, 0.875]]))
