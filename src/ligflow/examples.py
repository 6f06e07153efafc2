"""One example, ready to be explained: its tokens, the rows asked about, and the model's layers on it."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from ligflow.attribution import Attribution, on_cpu
from ligflow.errors import LigflowError, UnsupportedModel
from ligflow.fingerprint import checksum
from ligflow.places import Done, Places
from ligflow.replay import Layer, borrowed, flat_tensors
from ligflow.routes import Tokens as LayerTokens
from ligflow.routes import explain_together
from ligflow.routing import has_experts
from ligflow.settings import Settings
from ligflow.tokens import Tokens
from ligflow.validation import holds, validate

Results = list[dict[str, Attribution]]  # of one example: for each layer, every route


@dataclass(frozen=True, eq=False)
class Example:
    """`place` holds the same rows as positions among all tokens of the layers, padding included.

    `memory` are the tokens of the encoder that the layers attend to, if they do.
    """

    tokens: Tokens
    rows: list[int]
    layers: list[Layer]
    place: LayerTokens
    notes: list[str]
    places: Places
    memory: Tokens | None = None


@dataclass(frozen=True, eq=False)
class Validated:
    """Layers as they were validated, by what decides about it; inputs of one kind share the outcome.

    Not so where there are more tokens than before, which experts may have no room for, and where attention is
    seen at its softmax: what a layer computes around it may depend on the values.
    """

    places: Places
    fixed: bool = False  # nobody else can change the weights
    known: dict[Any, tuple[Any, Layer]] = field(default_factory=dict)  # with the weights' checksums
    routed: set[Any] = field(default_factory=set)  # kinds that choose experts
    checksums: dict[nn.Module, Any] = field(default_factory=dict)  # of layers, as they are now

    def of_now(self) -> "Validated":
        """The same, with the weights looked at again."""
        return replace(self, checksums={})

    def __call__(self, layers: list[Layer]) -> list[Layer]:
        """The layers with what validation found, now or before."""
        waiting = [layer for layer in layers if layer.forms or not self._covers(layer)]
        found = self.places.in_turn(waiting, lambda number: self._checked(waiting[number]))
        now = dict(zip(waiting, found, strict=True))
        return [_as_seen(layer, now.get(layer) or self.known[_kind(layer)][1]) for layer in layers]

    def _covers(self, layer: Layer) -> bool:
        """Whether its kind was validated on these weights, with as many tokens where that may matter."""
        weights, seen = self.known.get(_kind(layer), (None, None))
        if seen is None or weights != self._weights(layer):
            return False
        return len(layer.hidden) <= len(seen.hidden) or _kind(layer) not in self.routed

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
            seen = self.known[_kind(layer)][1]
            return seen if holds(self.places.model, layer, seen) else validate(self.places.model, layer)
        found = validate(self.places.model, layer)
        self.known[_kind(layer)] = self._weights(layer), found
        with borrowed(self.places.model, found.implementation):
            self.routed.update({_kind(layer)} if has_experts(found) else ())
        return found


def _as_seen(layer: Layer, seen: Layer) -> Layer:
    """The layer with what was found when another one of its kind was validated."""
    return replace(
        layer, refusal=seen.refusal, entangled=seen.entangled, one_by_one=seen.one_by_one,
        tiled=seen.tiled, windows=seen.windows, memory=seen.memory, cross_heads=seen.cross_heads,
        projections=seen.projections, anywhere=seen.anywhere, shortcut=seen.shortcut,
        no_shortcut=seen.no_shortcut, cost=seen.cost, repeats=seen.repeats, as_loaded=seen.as_loaded,
    )  # fmt: skip


def _kind(layer: Layer) -> Any:
    """What a layer is called with, but for numbers of tokens and values."""
    arguments = tuple((name, _shape(value)) for name, value in sorted(layer.arguments.items()))
    device, dtype = layer.hidden.device, layer.hidden.dtype
    windows = layer.windows and layer.windows.calls
    called = (layer.index, layer.name, layer.refusal, layer.entangled, layer.as_loaded, windows)
    return *called, len(layer.hidden) == 1, str(device), dtype, layer.positional, arguments


def _shape(value: Any) -> Any:
    tensors = flat_tensors(value)
    if not tensors:
        return str(type(value)) if value is None or not isinstance(value, bool | int | float | str) else value
    return tuple((str(tensor.dtype), tensor.ndim, tensor.shape[:1] == (1,)) for tensor in tensors)


def shown(tokens: Tokens, visible: Tensor) -> Tokens:
    """The tokens without padding."""
    if len(visible) == len(tokens.labels):
        return tokens
    keep = visible.tolist()
    labels, special = (tuple(of[i] for i in keep) for of in (tokens.labels, tokens.special))
    return Tokens(labels, special, notes=tokens.notes)


def splittable(layers: list[Layer], asked: bool, routes: tuple[str, ...]) -> tuple[list[Layer], list[str]]:
    """The layers to explain; those not asked for by number are left out, with a note, where they refuse."""
    refused = [layer for layer in layers if layer.refusal] if set(routes) != {"z2z"} else []
    if refused and (asked or len(refused) == len(layers)):
        first = refused[0]
        raise UnsupportedModel(
            f"Layer {first.index} ({type(first.module).__name__}) offers no z2u and u2z: {first.refusal}. "
            "z2z is available: routes=('z2z',)."
        )
    notes = [f"layer {layer.index} left out: {layer.refusal}" for layer in refused]
    return [layer for layer in layers if layer not in refused], notes


def compute(
    places: Places,
    examples: Sequence[Example],
    settings: Sequence[Settings],
    done: Done | None = None,
) -> list[list[Results]]:
    """For each of the settings, for each example, the attributions of every layer.

    Examples whose layers allow it go through each layer together; the others one by one.
    """

    def of_layer(index: int) -> list[Results]:
        return _of_layer(examples, settings, index)

    by_layer = places.compute(examples[0].layers, of_layer, done)
    return [
        [[of_layer[asked][n] for of_layer in by_layer] for n in range(len(examples))]
        for asked in range(len(settings))
    ]


def _of_layer(examples: Sequence[Example], settings: Sequence[Settings], index: int) -> list[Results]:
    """For each of the settings, for each example, every route of one layer."""
    found: list[Results] = [[] for _ in settings]
    layers = [example.layers[index] for example in examples]
    one_call = all(layer.shortcut is not None and layer.anywhere for layer in layers)
    groups = [range(len(examples))] if one_call else [range(n, n + 1) for n in range(len(examples))]
    for group in groups:
        some = [examples[n] for n in group]
        results = explain_together([e.layers[index] for e in some], settings, [e.place for e in some])
        for asked, of_asked in zip(found, results, strict=True):
            for example, routes in zip(some, of_asked, strict=True):
                asked.append(_visible(example.layers[index], routes, example.place))
    return found


def _visible(layer: Layer, found: dict[str, Attribution], place: LayerTokens) -> dict[str, Attribution]:
    """Sources without padding; where they are heads, all of them. On the CPU, to make room."""
    place, tokens = place.on(layer.hidden.device), len(layer.hidden)
    for route, one in found.items():
        if not torch.isfinite(one.value).all() or not torch.isfinite(one.total).all():
            raise LigflowError(
                f"Layer {layer.index}, {route}: the model gives NaN or infinite values on the path from "
                "its baseline; choose another baseline, or check the weights."
            )
    return {
        route: on_cpu(
            one if route == "u2z" else replace(one, value=one.value[..., place.sources(route, tokens)])
        )
        for route, one in found.items()
    }
