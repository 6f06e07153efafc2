"""Where layers are computed: where the model lies, on one device after another, or on several at once."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import nn

from ligflow.devices import streaming
from ligflow.devices.streaming import Spot, Stream
from ligflow.devices.weights import resident
from ligflow.layer.float64 import keeping, real_type_of
from ligflow.layer.layer import Layer
from ligflow.layer.model_state import locked, prepared

Done = Callable[[int, int], None]
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Placement:
    """A model and the devices its layers come to; none means that they are computed where they lie.

    A layer is computed on the device that holds its recorded tensors.
    """

    model: nn.Module
    devices: tuple[torch.device, ...] = ()

    @property
    def home(self) -> torch.device:
        """Where the model's inputs go."""
        return self.devices[0] if self.devices else next(self.model.parameters()).device

    @property
    def on_cpu(self) -> bool:
        """Whether all of the model runs on the CPU."""
        own = (weight.device for weight in self.model.parameters())
        return all(device.type == "cpu" for device in self.devices or own)

    @contextmanager
    def running(self) -> Iterator[None]:
        """The model can be run on inputs at `home`."""
        with locked(self.model), streaming.running(self.model, self.home) if self.devices else nullcontext():
            yield

    @contextmanager
    def ready_for(self, layer: Layer) -> Iterator[None]:
        """The model borrowed for this layer, whose weights are on its device."""
        with locked(self.model), self._here(layer), prepared(self.model, layer.implementation):
            yield

    @contextmanager
    def _here(self, layer: Layer) -> Iterator[None]:
        stream, device = streaming.in_use(self.model), layer.hidden.device
        if stream is not None:
            stream.bring(layer.module, device)
        with resident(layer.module.modules(), device) if self.devices and not stream else nullcontext():
            yield

    def spread(self, layers: list[Layer]) -> list[Layer]:
        """The layers with their tensors on the devices in turn; those that share modules stay together."""
        if len(self.devices) < 2:
            return layers
        groups = _groups(layers)
        return [
            layer.on(self.devices[group % len(self.devices)])
            for layer, group in zip(layers, groups, strict=True)
        ]

    def in_turn(self, layers: Sequence[Layer], work: Callable[[int], T]) -> list[T]:
        """`work(number)` for each layer, one after the other in this thread."""
        if not self.devices:
            return [work(number) for number in range(len(layers))]
        order = [(layer.module, layer.hidden.device) for layer in layers]
        results = []
        with locked(self.model), self._stream(order) as stream:
            for number, spot in enumerate(order):
                stream.bring(*spot)
                results.append(work(number))
        return results

    def _stream(self, order: Sequence[Spot]) -> AbstractContextManager[Stream]:
        stream = streaming.in_use(self.model)
        return Stream(order) if stream is None else nullcontext(stream)

    def compute(self, layers: Sequence[Layer], work: Callable[[int], T], report: Done | None) -> list[T]:
        """`work(number)` for each layer with the model borrowed, on several devices side by side."""
        if len(self.devices) > 1:
            return self._side_by_side(layers, work, report)

        def of_layer(number: int) -> T:
            with prepared(self.model, layers[number].implementation):
                result = work(number)
            if report is not None:
                report(number + 1, len(layers))
            return result

        return self.in_turn(layers, of_layer)

    def _side_by_side(
        self, layers: Sequence[Layer], work: Callable[[int], T], report: Done | None
    ) -> list[T]:
        """A model has one attention implementation at a time, so layers with another one wait."""
        results: dict[int, T] = {}

        def note(number: int, result: T) -> None:
            results[number] = result
            if report is not None:
                report(len(results), len(layers))

        for implementation in dict.fromkeys(layer.implementation for layer in layers):
            numbers = [n for n, layer in enumerate(layers) if layer.implementation == implementation]
            with prepared(self.model, implementation):
                self._in_threads(layers, numbers, work, note)
        return [results[number] for number in range(len(layers))]

    def _in_threads(
        self,
        layers: Sequence[Layer],
        numbers: list[int],
        work: Callable[[int], T],
        note: Callable[[int, T], None],
    ) -> None:
        """A thread for each device; the first error stops them all, once their layers are done."""
        real = real_type_of(self.model)
        with ExitStack() as stack:
            futures: dict[Future[T], int] = {}
            for lane in self._lanes(layers, numbers):
                spots = [(layers[number].module, layers[number].hidden.device) for number in lane]
                stream = stack.enter_context(Stream(spots))
                worker = stack.enter_context(ThreadPoolExecutor(1, "ligflow-layers"))
                for number in lane:
                    futures[worker.submit(_in_thread, stream, layers[number], work, number, real)] = number
            try:
                for future in as_completed(futures):
                    note(futures[future], future.result())
            finally:
                for future in futures:
                    future.cancel()

    def _lanes(self, layers: Sequence[Layer], numbers: list[int]) -> list[list[int]]:
        """The layers of each thread. A device that is named twice has two threads."""
        lanes: dict[tuple[torch.device, int], list[int]] = {}
        groups_of: dict[torch.device, list[int]] = {}
        for number, group in zip(numbers, _groups([layers[number] for number in numbers]), strict=True):
            device = layers[number].hidden.device
            groups = groups_of.setdefault(device, [])
            if group not in groups:
                groups.append(group)
            lanes.setdefault((device, groups.index(group) % self.devices.count(device)), []).append(number)
        return list(lanes.values())


def _in_thread(stream: Stream, layer: Layer, work: Callable[[int], T], number: int, real: torch.dtype) -> T:
    """Modes of PyTorch belong to a thread, so a worker enters its own."""
    device = layer.hidden.device
    with (
        torch.cuda.device(device) if device.type == "cuda" else nullcontext(),
        keeping(real),
    ):
        stream.bring(layer.module, device)
        return work(number)


def _groups(layers: Sequence[Layer]) -> list[int]:
    """A number for each layer, from 0, the same for layers that share a module."""
    group_of: dict[nn.Module, int] = {}
    groups: list[int] = []
    for number, layer in enumerate(layers):
        parts = list(layer.module.modules())
        met = {group_of[part] for part in parts if part in group_of} | {number}
        mine = min(met)
        group_of |= {part: mine for part, group in group_of.items() if group in met}
        group_of |= dict.fromkeys(parts, mine)
        groups = [mine if group in met else group for group in [*groups, number]]
    ranks = {group: rank for rank, group in enumerate(dict.fromkeys(groups))}
    return [ranks[group] for group in groups]
