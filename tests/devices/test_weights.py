"""Weights copied to a device and put in, and back bit for bit; what is short is widened; files of weights."""

from pathlib import Path

import pytest
import torch
from torch import nn

from ligflow.devices.weights import (
    check_weights,
    fetch,
    fresh,
    is_short,
    on_disk,
    resident,
    usable,
    weights_notes,
    with_weights,
)
from ligflow.errors import LigflowError

CPU = torch.device("cpu")


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(2, 2), nn.Linear(2, 2)
        self.second.weight = self.first.weight
        self.register_buffer("count", torch.tensor([3]))


def test_copies_are_in_and_the_own_weights_come_back_bit_for_bit() -> None:
    model = Tied()
    own = {
        name: (id(weight), weight.detach().clone())
        for name, weight in model.state_dict(keep_vars=True).items()
    }
    with resident(model.modules(), CPU):
        inside = model.state_dict(keep_vars=True)
        assert all(id(inside[name]) != number for name, (number, _) in own.items())
        assert all(torch.equal(inside[name], values) for name, (_, values) in own.items())
        assert model.first.weight is model.second.weight  # copied once
        with torch.no_grad():
            model.first.weight.zero_()
    after = model.state_dict(keep_vars=True)
    assert {name: id(weight) for name, weight in after.items()} == {
        name: number for name, (number, _) in own.items()
    }
    assert all(torch.equal(after[name], values) for name, (_, values) in own.items())


def test_after_an_error_too() -> None:
    model = Tied()
    own = id(model.first.weight)
    with pytest.raises(ArithmeticError), resident(model.modules(), CPU):
        raise ArithmeticError
    assert id(model.first.weight) == own


def test_half_precision_is_widened_and_whole_numbers_are_not() -> None:
    assert [is_short(torch.zeros(1, dtype=kind)) for kind in (torch.bfloat16, torch.float32, torch.int8)] == [
        True, False, False,
    ]  # fmt: skip
    half = torch.tensor([1 / 3]).half()
    assert torch.equal(fresh(half, CPU), half.float())
    assert fresh(torch.tensor([3]), CPU).dtype == torch.int64
    own = torch.ones(2)
    assert fresh(own, CPU).data_ptr() != own.data_ptr()
    assert [slot[2].dtype for slot in fetch([nn.Linear(1, 1).bfloat16()], CPU).slots] == [torch.float32] * 2


def test_a_usable_model_is_itself_and_a_short_one_a_copy() -> None:
    model = nn.Linear(2, 2)
    assert usable(model, CPU) is model
    short = nn.Linear(2, 2).bfloat16()
    wide = usable(short)
    assert (short.weight.dtype, wide.weight.dtype) == (torch.bfloat16, torch.float32)
    assert torch.equal(wide.weight, short.weight.float())
    assert weights_notes(model) == []
    assert weights_notes(short) == ["weights in bfloat16, integrated in a float32 copy"]


def test_changed_weights_leave_the_models_own_alone() -> None:
    model = Tied()
    doubled = with_weights(model, lambda weight: 2 * weight.detach())
    assert torch.equal(doubled.first.weight, 2 * model.first.weight)
    assert doubled.first.weight is doubled.second.weight
    assert doubled.count.item() == 6


def test_weights_that_hold_nan_or_are_not_there_are_named() -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    check_weights(model)
    model[0].bias.data[1] = torch.nan
    with pytest.raises(LigflowError, match=r"'0\.bias' hold NaN"):
        check_weights(model)
    with pytest.raises(LigflowError, match="'weight' are not in memory"):
        check_weights(nn.Linear(2, 2, device="meta"))


def test_weights_on_disk_are_the_same_numbers(tmp_path: Path) -> None:
    model = Tied()
    mapped = on_disk(model, tmp_path / "weights")
    assert torch.equal(mapped.first.weight, model.first.weight)
    assert mapped.first.weight is mapped.second.weight
    assert len(list((tmp_path / "weights").glob("*.safetensors"))) == 3  # the tied weight is in one
    (tmp_path / "file").write_text("")
    with pytest.raises(LigflowError, match="cannot be made"):
        on_disk(model, tmp_path / "file")
