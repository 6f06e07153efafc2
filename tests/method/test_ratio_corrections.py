"""The ratio corrections: the self share of the other map, and the row's old sum."""

import numpy as np
import pytest
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


def test_a_share_of_a_sum_of_exactly_zero_is_zero() -> None:
    itb = torch.tensor([[[0.0, 2.0, 4.0]]])
    zero = torch.tensor([[[1.0, -1.0, 0.0]]])
    assert corrected(ItbZeroRatio(), itb, zero, torch.tensor([0])).equal(itb)


def test_map_ratio_gives_the_attention_weight_as_self_share() -> None:
    itb = torch.tensor([[[3.0, 0.0, 1.0]]])
    alpha = torch.tensor([[[0.5, 0.25, 0.25]]])
    found = corrected(ItbMapRatio(), itb, alpha, torch.tensor([1]))
    torch.testing.assert_close(found, torch.tensor([[[2.25, 1.0, 0.75]]]))


@pytest.mark.parametrize("heads", [(), (3,)])
@pytest.mark.parametrize("baseline", [ItbZeroRatio(), ItbMapRatio()])
def test_each_row_of_each_head_is_corrected_by_itself(baseline: Baseline, heads: tuple[int, ...]) -> None:
    draw = torch.Generator().manual_seed(0)
    itb, reference = torch.rand(2, 2, *heads, 4, generator=draw, dtype=torch.float64) + 0.1
    targets = torch.tensor([3, 1])
    found = corrected(baseline, itb, reference, targets)
    for row, target in enumerate(targets.tolist()):
        for cell in np.ndindex(heads):
            old, other = itb[row, *cell].numpy(), reference[row, *cell].numpy()
            share = other[target] / (other.sum() if isinstance(baseline, ItbZeroRatio) else 1)
            wanted = (1 - share) * old
            wanted[target] = share * old.sum()
            np.testing.assert_allclose(found[row, *cell], wanted, rtol=1e-12)
