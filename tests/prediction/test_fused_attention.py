import pytest
import torch
from torch import Tensor

from ligflow.layer.interface import Captured, plain
from ligflow.method.attention import ScoreTerms
from ligflow.prediction.fused_attention import fused


def _noise(*shape: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()


def _bias() -> Tensor:
    lowest = torch.finfo(torch.float64).min
    return torch.zeros(1, 1, 5, 5).double().masked_fill(~torch.ones(5, 5).bool().tril(), lowest)


@pytest.mark.parametrize(
    "form",
    [
        ScoreTerms(0.3, None, None, None),
        ScoreTerms(0.3, _bias(), None, None),
        ScoreTerms(0.3, _bias(), 2.0, None),
        ScoreTerms(0.3, _bias(), None, torch.tensor([0.5, -1.0, 2.0, 0.0], dtype=torch.float64)),
    ],
    ids=["all", "causal", "capped", "sink"],
)
def test_the_fused_attention_is_the_plain_one_and_so_are_its_cotangents(form: ScoreTerms) -> None:
    query, key, value = _noise(2, 4, 5, 6, seed=0), _noise(2, 2, 5, 6, seed=1), _noise(2, 2, 5, 3, seed=2)
    captured, towards = Captured(query, key, value, form), _noise(2, 4, 5, 3, seed=3).detach()
    ours, theirs = fused(captured), plain(captured)
    assert torch.allclose(ours, theirs, rtol=1e-12, atol=1e-12)
    pairs = [torch.autograd.grad(each, (query, key, value), towards) for each in (ours, theirs)]
    for a, b in zip(*pairs, strict=True):
        assert torch.allclose(a, b, rtol=1e-11, atol=1e-12)
