"""Runs of a model as it was loaded, kept for a while: what a question takes, recording takes once more."""

from collections.abc import Mapping

import torch
from torch import Tensor

from ligflow.layer.arguments import flat_tensors
from ligflow.recording.call import Call, flat

_BYTES = 2**28  # of all that layers gave; the last run is kept whatever its size


class LoadedRuns:
    """The calls of the latest runs by their inputs; the oldest are let go of where they take much memory."""

    def __init__(self) -> None:
        self._runs: list[tuple[Mapping[str, Tensor], list[Call]]] = []

    def keep(self, inputs: Mapping[str, Tensor], calls: list[Call]) -> None:
        """Keeps the calls of a run until they are taken."""
        self._runs.append((inputs, calls))
        while len(self._runs) > 1 and sum(_size(run) for _, run in self._runs) > _BYTES:
            self._runs.pop(0)

    def take(self, inputs: Mapping[str, Tensor]) -> list[Call] | None:
        """The calls of a run on equal inputs, which is not kept any more; None where there was none."""
        for number, (others, calls) in enumerate(self._runs):
            if others.keys() == inputs.keys() and all(_equal(inputs[n], others[n]) for n in inputs):
                del self._runs[number]
                return calls
        return None


def _equal(ours: Tensor, theirs: Tensor) -> bool:
    return ours.shape == theirs.shape and ours.dtype == theirs.dtype and torch.equal(ours, theirs)


def _size(calls: list[Call]) -> int:
    return sum(tensor.nbytes for call in flat(calls) for tensor in flat_tensors(call.output))
