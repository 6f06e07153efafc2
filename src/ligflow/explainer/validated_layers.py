"""Which layers were validated, and on what the verdict rests."""

from dataclasses import dataclass, field, replace
from typing import Any

from torch import nn

from ligflow.explainer.fingerprint import checksum
from ligflow.explainer.placement import Placement
from ligflow.layer.arguments import flat_tensors
from ligflow.layer.layer import Layer
from ligflow.recording.validation import holds, validate


@dataclass(frozen=True, eq=False)
class Validated:
    """Layers as they were validated, by what decides about it; inputs of one kind share the outcome.

    Not so where there are more tokens than before, which experts may have no room for, and where attention is
    seen at its softmax: what a layer computes around it may depend on the values.
    """

    placement: Placement
    fixed: bool = False  # nobody else can change the weights
    known: dict[Any, tuple[Any, Layer]] = field(default_factory=dict)  # with the weights' checksums
    checksums: dict[nn.Module, Any] = field(default_factory=dict)  # of layers, as they are now

    def of_now(self) -> "Validated":
        """The same, with the weights looked at again."""
        return replace(self, checksums={})

    def __call__(self, layers: list[Layer]) -> list[Layer]:
        """The layers with what validation found, now or before."""
        waiting = [layer for layer in layers if layer.forms or not self._covers(layer)]
        checked = self.placement.in_turn(waiting, lambda number: self._checked(waiting[number]))
        now = dict(zip(waiting, checked, strict=True))
        return [_as_seen(layer, now.get(layer) or self.known[_kind(layer)][1]) for layer in layers]

    def _covers(self, layer: Layer) -> bool:
        """Whether its kind was validated on these weights, with as many tokens where that may matter."""
        weights, validated = self.known.get(_kind(layer), (None, None))
        if validated is None or weights != self._weights(layer):
            return False
        return len(layer.hidden) <= len(validated.hidden) or not validated.findings.choices

    def _weights(self, layer: Layer) -> Any:
        """What tells the layer's weights from others."""
        if self.fixed:
            return ()
        if layer.module not in self.checksums:
            weights = (*layer.module.parameters(), *layer.module.buffers())
            self.checksums[layer.module] = checksum(weights)
        return self.checksums[layer.module]

    def _checked(self, layer: Layer) -> Layer:
        if self._covers(layer):
            known = self.known[_kind(layer)][1]
            return (
                known if holds(self.placement.model, layer, known) else validate(self.placement.model, layer)
            )
        validated = validate(self.placement.model, layer)
        self.known[_kind(layer)] = self._weights(layer), validated
        return validated


def _as_seen(layer: Layer, validated: Layer) -> Layer:
    """The layer with what was found when another one of its kind was validated."""
    return replace(layer, findings=validated.findings)


def _kind(layer: Layer) -> Any:
    """What a layer is called with, but for numbers of tokens and values."""
    arguments = tuple((name, _shape(value)) for name, value in sorted(layer.arguments.items()))
    device, dtype = layer.hidden.device, layer.hidden.dtype
    windows = layer.findings.windows and layer.findings.windows.calls
    called = (layer.index, layer.name, layer.mode, layer.findings.reason, layer.findings.as_loaded, windows)
    return *called, len(layer.hidden) == 1, str(device), dtype, layer.positional, arguments


def _shape(value: Any) -> Any:
    tensors = flat_tensors(value)
    if not tensors:
        return str(type(value)) if value is None or not isinstance(value, bool | int | float | str) else value
    return tuple((str(tensor.dtype), tensor.ndim, tensor.shape[:1] == (1,)) for tensor in tensors)
