"""How far two runs of a layer may be apart: token by token, by what attention does to each."""

import math

import pytest
import torch

from ligflow.recording.tolerances import error_over_allowance, gap, max_token_error, rounding, tolerance


def test_a_gap_is_relative() -> None:
    theirs = torch.tensor([[3.0, 4.0]])
    assert gap(theirs + torch.tensor([[0.0, 0.5]]), theirs) == pytest.approx(0.1)
    assert gap(theirs, 0 * theirs) > 1e29


@pytest.mark.parametrize(
    ("dtype", "own", "rounded"), [(torch.float32, 1e-3, 1e-5), (torch.float64, 1e-9, 1e-11)]
)
def test_float64_must_be_nearer(dtype: torch.dtype, own: float, rounded: float) -> None:
    numbers = torch.ones(1, dtype=dtype)
    assert (tolerance(numbers), rounding(numbers)) == (own, rounded)


def test_a_large_token_does_not_hide_a_small_one() -> None:
    theirs = torch.tensor([[1000.0], [1000.0], [10.0]])
    ours = theirs + torch.tensor([[1.0], [0.0], [1.0]])
    assert max_token_error(ours, theirs) == pytest.approx(0.1)
    assert gap(ours, theirs) < 0.002
    assert math.isnan(max_token_error(ours * torch.nan, theirs))


def test_a_token_of_nearly_nothing_is_measured_by_the_others() -> None:
    theirs = torch.tensor([[100.0], [100.0], [1e-9]])
    assert max_token_error(theirs + torch.tensor([[0.0], [0.0], [0.1]]), theirs) == pytest.approx(0.1)


def test_what_is_allowed_is_a_part_of_what_attention_does() -> None:
    theirs, still = (
        torch.tensor([[10.0]]),
        torch.tensor([[9.0]]),
    )  # attention moves it by 1: allowed is 1e-3 + 1e-4
    for off, share in ((1.1e-3, 1.0), (5.5e-4, 0.5)):
        assert error_over_allowance(theirs + off, theirs, still) == pytest.approx(share, rel=0.01)
