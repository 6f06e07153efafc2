"""Value, key and query of attention along a path, beside autograd, and what leaves them alone."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ligflow.method.attention import ScoreTerms, attention_output, attention_weights
from ligflow.method.attention_parts import AttentionParts, attention_parts

HEADS, GROUPS, TOKENS, SIZE = 4, 2, 5, 3
DRAW = torch.Generator().manual_seed(0)
BIAS = torch.zeros(1, 1, TOKENS, TOKENS, dtype=torch.float64)
BIAS[..., torch.ones(TOKENS, TOKENS).triu(1).bool()] = torch.finfo(torch.float64).min
SINK = torch.linspace(-1, 1, HEADS, dtype=torch.float64)
FORMS = {
    "plain": ScoreTerms(0.7),
    "causal": ScoreTerms(0.7, BIAS),
    "capped": ScoreTerms(0.7, BIAS, softcap=1.5),
    "sink": ScoreTerms(0.7, BIAS, sink=SINK),
}


def drawn(heads: int) -> Tensor:
    return torch.randn(1, heads, TOKENS, SIZE, generator=DRAW, dtype=torch.float64)


PULL, QUERY, KEY, VALUE = drawn(HEADS), drawn(HEADS), drawn(GROUPS), drawn(GROUPS)
STEPS = drawn(HEADS), drawn(GROUPS), drawn(GROUPS)


def parts_of(
    form: ScoreTerms, key: Tensor = KEY, steps: tuple[Tensor, Tensor, Tensor] = STEPS
) -> AttentionParts:
    weights = attention_weights(QUERY, key, form)
    return attention_parts(weights, PULL, QUERY, key, VALUE, steps, form.scaling)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_sums_are_what_autograd_says_of_each_projection_alone(form: ScoreTerms) -> None:
    parts, sums = parts_of(form), []
    for which in (2, 1, 0):

        def moved(a: Tensor, which: int = which) -> Tensor:
            every = [QUERY, KEY, VALUE]
            every[which] = every[which] + a * STEPS[which]
            query, key, value = every
            return (attention_output(attention_weights(query, key, form), value) * PULL).sum(-1)[0]

        sums.append(torch.autograd.functional.jacobian(moved, torch.zeros((), dtype=torch.float64)))
    assert torch.allclose(parts.stacked.sum(-1)[:, 0], torch.stack(sums), atol=1e-12)
    assert parts.common.abs().max() > 0.01
    assert parts.common.sum(-1).abs().max() < 1e-12


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_with_the_common_move_they_are_what_autograd_says_of_each_source(form: ScoreTerms) -> None:
    parts = parts_of(form)

    def moved(gates: Tensor) -> Tensor:
        key, value = (
            each + gates[:, None] * step for each, step in zip((KEY, VALUE), STEPS[1:], strict=True)
        )
        return (attention_output(attention_weights(QUERY, key, form), value) * PULL).sum(-1)[0]

    wanted = torch.autograd.functional.jacobian(moved, torch.zeros(TOKENS, dtype=torch.float64))
    assert torch.allclose(parts.sources[0], wanted, atol=1e-12)


@pytest.mark.parametrize("name", ["plain", "causal"])
def test_a_shift_common_to_all_keys_leaves_every_part_alone(name: str) -> None:
    """Also one that moves along the path: a softmax does not see it."""
    before, form = parts_of(FORMS[name]), FORMS[name]
    shift, moving = drawn(GROUPS)[:, :, :1], drawn(GROUPS)[:, :, :1]
    after = parts_of(form, KEY + shift, (STEPS[0], STEPS[1] + moving, STEPS[2]))
    assert torch.allclose(before.stacked, after.stacked, atol=1e-12)
    assert (before.common - after.common).abs().max() > 0.1  # what was taken out does move


def test_a_sink_sees_a_shift_of_all_keys_and_parts_still_sum() -> None:
    form, moving = FORMS["sink"], drawn(GROUPS)[:, :, :1]
    before, after = parts_of(form), parts_of(form, steps=(STEPS[0], STEPS[1] + moving, STEPS[2]))
    assert (before.key.sum(-1) - after.key.sum(-1)).abs().max() > 0.01
    faint = replace(form, sink=SINK - 60)  # no weight is left to it
    assert torch.allclose(parts_of(faint).stacked, parts_of(FORMS["causal"]).stacked, atol=1e-12)


def test_what_a_target_does_not_see_has_no_part() -> None:
    parts = parts_of(FORMS["causal"]).stacked
    assert bool((parts[..., torch.ones(TOKENS, TOKENS).triu(1).bool()] == 0).all())
    assert bool((parts[1:, :, :, 0] == 0).all())  # where there is one key, nothing is found
