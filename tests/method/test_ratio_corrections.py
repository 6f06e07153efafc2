"""The ratio corrections: the self share of the other map, and the row's old sum."""

import torch
from torch import Tensor

from ligflow.method.baselines import Baseline
from ligflow.method.ratio_corrections import ItbMapRatio, ItbZeroRatio, with_self_share


def corrected(baseline: Baseline, itb: Tensor, reference: Tensor, targets: Tensor) -> Tensor:
    correction = baseline.correction
    assert correction is not None
    return with_self_share(itb, correction.self_share(reference, targets), targets)


def test_zero_ratio_gives_the_zero_maps_self_share_and_keeps_the_sum() -> None:
    itb = torch.tensor([[[0.0, 2.0, 4.0]]])
    zero = torch.tensor([[[1.0, 1.0, 2.0]]])
    found = corrected(ItbZeroRatio(), itb, zero, torch.tensor([0]))
    torch.testing.assert_close(found, torch.tensor([[[1.5, 1.5, 3.0]]]))


def test_a_share_above_one_flips_the_others() -> None:
    itb = torch.tensor([[[0.0, 2.0, 4.0]]])
    zero = torch.tensor([[[3.0, -1.0, 0.0]]])
    found = corrected(ItbZeroRatio(), itb, zero, torch.tensor([0]))
    torch.testing.assert_close(found, torch.tensor([[[9.0, -1.0, -2.0]]]))


def test_ratios_without_anything_to_share_stay_finite() -> None:
    nothing = torch.zeros(1, 1, 3)
    assert corrected(ItbZeroRatio(), nothing, nothing, torch.tensor([1])).abs().max() == 0
    alone = torch.tensor([[[1.0, 0.0, 0.0]]])
    assert corrected(ItbMapRatio(), nothing, alone, torch.tensor([0])).abs().max() == 0


def test_map_ratio_gives_the_attention_weight_as_self_share() -> None:
    itb = torch.tensor([[[3.0, 0.0, 1.0]]])
    alpha = torch.tensor([[[0.5, 0.25, 0.25]]])
    found = corrected(ItbMapRatio(), itb, alpha, torch.tensor([1]))
    torch.testing.assert_close(found, torch.tensor([[[2.25, 1.0, 0.75]]]))
