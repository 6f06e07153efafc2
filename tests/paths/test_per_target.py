"""Paths that start at the target itself in closed form, against the sum written out cell by cell."""

import pytest
import torch
from torch import Tensor

from ligflow.method.attention import ScoreTerms
from ligflow.method.norm_affine import NormAffine
from ligflow.paths.batch import BatchRows
from ligflow.paths.batch_projections import Turned
from ligflow.paths.per_target import PerTargetAttention

HEADS, GROUPS, TOKENS, DIM, VALUE_DIM, FEATURE = 4, 2, 5, 6, 3, 7
NODES = torch.tensor([0.0, 0.35, 1.0], dtype=torch.float64)
ROWS = [1, 4]


def attention_of(normed: bool, turned: bool, softcap: float | None) -> PerTargetAttention:
    """Random numbers in place of a layer's: two query heads share each key, the last source is blocked."""
    generator = torch.Generator().manual_seed(11)

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    def projection(dim: int) -> NormAffine:
        numerator = random(1, GROUPS, TOKENS, dim)
        if not normed:
            return NormAffine(numerator)
        return NormAffine(numerator, random(1, GROUPS, TOKENS, FEATURE), random(1, GROUPS, TOKENS, dim))

    key, value = projection(DIM), projection(VALUE_DIM)
    turn = None
    if turned:  # at angles of its own for each position; the key as it is at its own position
        angle = torch.arange(TOKENS, dtype=torch.float64)[:, None] * torch.tensor([0.3, 0.9, 0.1])
        cos, sin = angle.cos().repeat(1, 2), torch.cat([-angle.sin(), angle.sin()], dim=1)
        own = key.numerator
        base = cos * own - sin * own.roll(3, -1)
        turn = Turned(base, base.roll(3, -1), cos[None], sin[None])
    bias = random(1, 1, TOKENS, TOKENS)
    bias[..., -1] = torch.finfo(torch.float64).min
    form = ScoreTerms(0.4, bias, softcap, random(HEADS))
    return PerTargetAttention(random(1, HEADS, TOKENS, DIM), key, value, turn, form)


def at_position(attention: PerTargetAttention, token: int, position: int, group: int) -> Tensor:
    """The key's numerator of a token as it would be elsewhere."""
    if attention.turned is None:
        return attention.key.numerator[0, group, token]
    turned = attention.turned
    cos, sin = turned.cos[0, position], turned.sin[0, position]
    return cos * turned.base[0, group, token] + sin * turned.other[0, group, token]


def written_out(attention: PerTargetAttention, head: int, target: int, places: Tensor) -> Tensor:
    """u of one head and target, every source k at its own point `places[k]` of its path."""
    group, form = head // (HEADS // GROUPS), attention.form

    def moved(part: NormAffine, first: Tensor, source: int) -> Tensor:
        a, last = places[source], part.numerator[0, group, source]
        numerator = (1 - a) * first + a * last
        if part.feature is None:
            return numerator
        feature = (1 - a) * part.feature[0, group, target] + a * part.feature[0, group, source]
        return part.offset[0, group, source] + numerator / feature.norm()

    scores, values = [], []
    for source in range(TOKENS):
        key = moved(attention.key, at_position(attention, target, source, group), source)
        score = form.scaling * (attention.query[0, head, target] @ key)
        score = score if form.softcap is None else form.softcap * torch.tanh(score / form.softcap)
        scores.append(score + form.bias[0, 0, target, source])
        values.append(moved(attention.value, attention.value.numerator[0, group, target], source))
    weights = torch.stack([*scores, form.sink[head]]).softmax(0)[:-1]
    return weights @ torch.stack(values)


@pytest.mark.parametrize("softcap", [None, 1.5])
@pytest.mark.parametrize("turned", [True, False])
@pytest.mark.parametrize("normed", [True, False])
def test_u_and_integrands_are_those_of_the_sum(normed: bool, turned: bool, softcap: float | None) -> None:
    attention = attention_of(normed, turned, softcap)
    block = attention.block(NODES, BatchRows(torch.tensor([0]), torch.tensor([ROWS]), None))
    p, slope = block.weights()
    u = block.u(p)
    to_u = torch.linspace(-1, 2, u.numel(), dtype=torch.float64).reshape(u.shape)
    integrands = block.source_integrands(p, slope, to_u)
    assert integrands[..., -1].abs().max() == 0  # blocked
    for number, node in enumerate(NODES):
        for row, target in enumerate(ROWS):
            for head in range(HEADS):
                places = node.expand(TOKENS).clone().requires_grad_()
                expected = written_out(attention, head, target, places)
                torch.testing.assert_close(u[number, row, head], expected, rtol=1e-10, atol=1e-12)
                (gradient,) = torch.autograd.grad(expected @ to_u[number, row, head], places)
                gradient[target] = 0  # it is at its end from the start
                torch.testing.assert_close(integrands[number, row, head], gradient, rtol=1e-9, atol=1e-11)
