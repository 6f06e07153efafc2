"""Names of devices become those that are there, with their numbers; others are refused with those present."""

import pytest
import torch

from ligflow.devices.available import device_of, devices_of, present
from ligflow.errors import LigflowError

CPU = torch.device("cpu")


def test_one_device_several_or_none() -> None:
    assert devices_of(None) == ()
    assert devices_of("cpu") == devices_of(CPU) == (CPU,)
    assert devices_of(["cpu", CPU]) == (CPU, CPU)
    assert present()[0] == "cpu"


@pytest.mark.parametrize("name", ["gpu", "meta", "cuda:99", 3.5, "cpu:x"])
def test_a_device_that_is_not_there_is_refused(name: object) -> None:
    with pytest.raises(LigflowError, match=f"{name!s}' is not usable; present: cpu"):
        device_of(name)


def test_no_device_is_refused() -> None:
    with pytest.raises(LigflowError, match="No device was given; present: cpu"):
        devices_of([])
