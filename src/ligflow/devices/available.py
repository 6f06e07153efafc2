"""Names of devices, turned into those that are there."""

from collections.abc import Sequence
from typing import Any

import torch

from ligflow.errors import LigflowError

Device = str | torch.device
Devices = Device | Sequence[Device]


def devices_of(devices: Devices | None) -> tuple[torch.device, ...]:
    """One device or several; none for None. Raises LigflowError, listing those present, for others."""
    if devices is None:
        return ()
    if isinstance(devices, Sequence) and not isinstance(devices, str):
        if not devices:
            raise LigflowError(f"No device was given; present: {', '.join(present())}.")
        return tuple(device_of(device) for device in devices)
    return (device_of(devices),)


def device_of(name: Any) -> torch.device:
    """The device with its number, as tensors name it."""
    try:
        device = torch.empty(0, device=torch.device(name)).device
    except (RuntimeError, AssertionError, NotImplementedError, TypeError, ValueError) as error:
        raise _unusable(name) from error
    if device.type == "meta":
        raise _unusable(name)
    return device


def present() -> list[str]:
    """The devices of this machine."""
    devices = ["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
    return [*devices, "mps"] if torch.backends.mps.is_available() else devices


def _unusable(name: object) -> LigflowError:
    return LigflowError(f"Device {str(name)!r} is not usable; present: {', '.join(present())}.")
