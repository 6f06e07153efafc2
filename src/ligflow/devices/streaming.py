"""Layers that take turns on a device, one in use and the next one on its way: models larger than a GPU.

The hooks of accelerate bring weights for a forward pass; here parts of a layer run again and again, with
gradients.
"""

import weakref
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from ligflow.devices.weights import Copies, fetch, resident

Spot = tuple[nn.Module, torch.device]


class Stream:
    """Modules whose weights come to a device when their turn comes; a thread fetches those of the next.

    `order` is the order in which they are expected; another one works, and waits for every fetch.
    """

    def __init__(self, order: Iterable[Spot]) -> None:
        self._after = {spot: after for spot, after in pairwise(order) if spot != after}
        self._fetcher = ThreadPoolExecutor(1, "ligflow-fetch")
        self._here: tuple[Spot, Copies] | None = None
        self._coming: tuple[Spot, Future[Copies]] | None = None

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *_: object) -> None:
        self._leave()
        self._coming = None
        self._fetcher.shutdown()

    def bring(self, module: nn.Module, device: torch.device) -> None:
        """The module has its weights on the device from now on, and the one before has its own back."""
        spot = (module, device)
        if self._here is not None and self._here[0] == spot:
            return
        self._leave()
        self._here = spot, self._arrived(spot)
        self._here[1].put_in()
        after = self._after.get(spot)
        if after is not None:
            self._coming = after, self._fetcher.submit(_fetch, after)

    def _leave(self) -> None:
        if self._here is not None:
            self._here[1].put_back()
            self._here = None

    def _arrived(self, spot: Spot) -> Copies:
        coming, self._coming = self._coming, None
        if coming is not None and coming[0] == spot:
            return coming[1].result()
        if coming is not None:
            coming[1].exception()  # it was another's turn: that copy is complete, and dropped
            del coming
        return _fetch(spot)


def _fetch(spot: Spot) -> Copies:
    module, device = spot
    return fetch(module.modules(), device)


_running: "weakref.WeakKeyDictionary[nn.Module, Stream]" = weakref.WeakKeyDictionary()


def in_use(model: nn.Module) -> Stream | None:
    """The stream by which the layers of a model come while it can be run, for whoever borrows one meanwhile.

    Two streams would each hold the other's copies for the layers' own weights, and none would be let go of.
    """
    return _running.get(model)


@contextmanager
def running(model: nn.Module, device: torch.device) -> Iterator[None]:
    """The model can be run on the device: members of its stacks come one by one, the rest is there.

    The caller has the model to itself; where it can be run already, this is nothing.
    """
    if model in _running:
        yield
        return
    outer = _stacked(model)
    rest = [module for module in model.modules() if module not in outer]
    order = [(module, device) for module in dict.fromkeys(outer.values())]
    with resident(rest, device), Stream(order) as stream:

        def bring(module: nn.Module, _args: Any) -> None:
            stream.bring(outer[module], device)

        entries = [part for part in _members(model) if part in outer]
        handles = [module.register_forward_pre_hook(bring) for module in entries]
        _running[model] = stream
        try:
            yield
        finally:
            del _running[model]
            for handle in handles:
                handle.remove()


def _stacked(model: nn.Module) -> dict[nn.Module, nn.Module]:
    """Every module in a member of a ModuleList, with that member (the outermost); lone leaves are none."""
    members: dict[nn.Module, nn.Module] = {}
    for member in _members(model):
        if member not in members and any(True for _ in member.children()):
            for part in member.modules():
                members.setdefault(part, member)
    return members


def _members(model: nn.Module) -> Iterator[nn.Module]:
    for module in model.modules():
        if isinstance(module, nn.ModuleList):
            yield from module.children()
