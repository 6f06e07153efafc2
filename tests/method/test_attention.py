"""The closed form against autograd, in all its variants."""

import pytest
import torch
from jaxtyping import TypeCheckError
from torch import Tensor

from ligflow.method.attention import (
    ScoreTerms,
    additive,
    attention_output,
    attention_weights,
    causal_mask,
    query_slope,
    score_gradient,
    softmax,
    source_slope,
)

generator = torch.Generator().manual_seed(0)


def rand(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


FORMS = {
    "plain": ScoreTerms(0.3),
    "bias": ScoreTerms(0.3, bias=rand(1, 4, 3, 5)),
    "softcap": ScoreTerms(0.3, softcap=1.5),
    "sink": ScoreTerms(0.3, sink=rand(4)),
    "all": ScoreTerms(0.7, bias=rand(1, 1, 3, 5), softcap=2.0, sink=rand(4)),
}


@pytest.mark.parametrize("groups", [4, 2, 1])
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_slopes_equal_autograd_through_gates(form: ScoreTerms, groups: int) -> None:
    query, query_step, pull = rand(2, 4, 3, 6), rand(2, 4, 3, 6), rand(2, 4, 3, 7)
    key, key_step = rand(2, groups, 5, 6), rand(2, groups, 5, 6)
    value, value_step = rand(2, groups, 5, 7), rand(2, groups, 5, 7)
    sources, own = by_autograd(form, query, query_step, key, key_step, value, value_step, pull)
    weights = attention_weights(query, key, form)
    grad = score_gradient(weights, pull, value, form.scaling)
    torch.testing.assert_close(source_slope(weights, grad, pull, query, key_step, value_step), sources)
    torch.testing.assert_close(query_slope(grad, query_step, key), own)


def by_autograd(
    form: ScoreTerms, query: Tensor, query_step: Tensor, key: Tensor, key_step: Tensor,
    value: Tensor, value_step: Tensor, pull: Tensor,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Every gate is a variable of its own, one a (batch, head, target, source)."""
    heads = query.shape[1] // key.shape[1]
    key, key_step, value, value_step = (
        part.repeat_interleave(heads, dim=1)[:, :, None] for part in (key, key_step, value, value_step)
    )
    gates = torch.zeros(2, 4, 3, 5, dtype=torch.float64, requires_grad=True)
    turn = torch.zeros(2, 4, 3, dtype=torch.float64, requires_grad=True)
    moved = (query + turn[..., None] * query_step)[:, :, :, None]
    scores = (moved * (key + gates[..., None] * key_step)).sum(-1) * form.scaling
    if form.softcap is not None:
        scores = form.softcap * torch.tanh(scores / form.softcap)
    if form.bias is not None:
        scores = scores + form.bias
    weights = scores.exp()
    sink = 0 if form.sink is None else form.sink.exp()[None, :, None, None]
    weights = weights / (weights.sum(-1, keepdim=True) + sink)
    u = (weights[..., None] * (value + gates[..., None] * value_step)).sum(-2)
    return torch.autograd.grad((u * pull).sum(), [gates, turn])


def test_masked_sources_have_weight_and_slope_zero() -> None:
    bias = torch.zeros(1, 1, 3, 5, dtype=torch.float64)
    bias[..., 3:] = torch.finfo(torch.float64).min
    form = ScoreTerms(1.0, bias=bias)
    query, key, value, pull = rand(1, 2, 3, 4), rand(1, 2, 5, 4), rand(1, 2, 5, 4), rand(1, 2, 3, 4)
    weights = attention_weights(query, key, form)
    grad = score_gradient(weights, pull, value, 1.0)
    slope = source_slope(weights, grad, pull, query, rand(1, 2, 5, 4), rand(1, 2, 5, 4))
    assert weights.p[..., 3:].abs().max() == 0
    assert slope[..., 3:].abs().max() == 0
    torch.testing.assert_close(attention_output(weights, value)[0, 0, 0], weights.p[0, 0, 0] @ value[0, 0])


def test_shapes_are_checked_while_testing() -> None:
    with pytest.raises(TypeCheckError):
        softmax(torch.zeros(1, 2, 3, 4), torch.zeros(3))  # a sink for each of two heads


def test_truth_values_of_a_mask_become_a_bias_that_leaves_no_weight() -> None:
    query = torch.zeros(1, 1, 3, 2, dtype=torch.float64)
    seen = torch.tensor([[[[True, False, True], [True, True, False], [False, True, True]]]])
    bias = additive(seen, query)
    assert bias is not None
    assert bias.dtype == torch.float64
    assert bias[seen].eq(0).all()
    assert bias[~seen].eq(torch.finfo(torch.float64).min).all()
    weights = attention_weights(query, query, ScoreTerms(1.0, bias=bias)).p
    assert weights.tolist() == [[[[0.5, 0, 0.5], [0.5, 0.5, 0], [0, 0.5, 0.5]]]]
    assert additive(bias, query) is bias  # numbers stay as they are
    assert additive(None, query) is None


def test_no_target_sees_a_later_source() -> None:
    seen = causal_mask(torch.zeros(2, 4, 2, 8), torch.zeros(2, 1, 3, 8))
    assert seen.tolist() == [[[[True, False, False], [True, True, False]]]]
