"""Where heads start, said by attention at a start of tokens or given as it is."""

from typing import Any

import pytest
import torch
from torch import Tensor

from ligflow import LigflowError
from ligflow.method.baselines import Itb, Mean, Start, Zero
from ligflow.method.head_baselines import AttItbA0, CheckedHeads, HeadVectors, Matched, ZeroHeads
from ligflow.method.ratio_corrections import ItbZeroRatio

U = torch.arange(24, dtype=torch.float64).reshape(4, 2, 3) + 1
VISIBLE = torch.tensor([1, 3])


def test_heads_start_where_attention_does() -> None:
    assert AttItbA0().attention(Zero()) == Itb()
    assert Matched().attention(Mean()) == Mean()
    assert Matched().attention(ItbZeroRatio()) == Itb()  # a corrected row was integrated along itb
    assert ZeroHeads().attention(Mean()) is None


def test_zero_moves_both_attentions_from_0_and_the_others_leave_the_second() -> None:
    assert ZeroHeads().start(U, VISIBLE).abs().max() == 0
    assert ZeroHeads().second_start(U).abs().max() == 0
    assert AttItbA0().second_start(U) is U


@pytest.mark.parametrize("shape", [(2, 3), (2, 2, 3)])
def test_a_tensor_is_put_at_the_visible_tokens(shape: tuple[int, ...]) -> None:
    content = torch.arange(1.0, 1 + torch.Size(shape).numel()).reshape(shape)
    baseline = HeadVectors(content)
    start = baseline.start(U, VISIBLE)
    assert start.dtype == U.dtype
    assert start[[0, 2]].abs().max() == 0
    assert start[VISIBLE].equal(content.double().expand(2, 2, 3))
    assert baseline.name == f"tensor{list(shape)}"


@pytest.mark.parametrize("content", [torch.ones(4, 2, 3), torch.ones(3), torch.full((2, 3), float("nan"))])
def test_a_tensor_that_does_not_fit_says_what_does(content: Tensor) -> None:
    with pytest.raises(LigflowError, match=r"\(2, 2, 3\) or \(2, 3\)"):
        HeadVectors(content).start(U, VISIBLE)


class Half:
    """A caller's own: half of the way."""

    name = "half"

    def start(self, vectors: Tensor, visible: Tensor) -> Any:
        return Start(vectors / 2)


class Flat(Half):
    """Forgets the heads."""

    def start(self, vectors: Tensor, visible: Tensor) -> Any:
        return Start(vectors.flatten(1))


def test_a_callers_own_is_checked() -> None:
    baseline = CheckedHeads(Half())
    assert baseline.name == "half"
    assert baseline.start(U, VISIBLE).equal(U / 2)
    assert baseline.attention(Zero()) is None
    with pytest.raises(LigflowError, match=r"'half' returned vectors of shape \(4, 6\)"):
        CheckedHeads(Flat()).start(U, VISIBLE)
