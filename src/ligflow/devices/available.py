"""Names of devices, turned into those that are there."""

from collections.abc import Sequence
from typing import Any

import torch

from ligflow.errors import LigflowError

Device = str | torch.device
Devices = Device | Sequence[Device]


def devices_of(given: Devices | None) -> tuple[torch.device, ...]:
    """One device or several; none for None. Raises LigflowError, listing those present, for others."""
    if given is None:
        return ()
    if isinstance(given, Sequence) and not isinstance(given, str):
        if not given:
            raise LigflowError(f"No device was given; present: {', '.join(present())}.")
        return tuple(device_of(one) for one in given)
    return (device_of(given),)


def device_of(given: Any) -> torch.device:
    """The device with its number, as tensors name it."""
    try:
        device = torch.empty(0, device=torch.device(given)).device
    except (RuntimeError, AssertionError, NotImplementedError, TypeError, ValueError) as error:
        raise _unusable(given) from error
    if device.type == "meta":
        raise _unusable(given)
    return device


def present() -> list[str]:
    """The devices of this machine."""
    found = ["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
    return [*found, "mps"] if torch.backends.mps.is_available() else found


def _unusable(given: object) -> LigflowError:
    return LigflowError(f"Device {str(given)!r} is not usable; present: {', '.join(present())}.")
