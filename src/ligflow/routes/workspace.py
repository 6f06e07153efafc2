"""A layer on some sentences, the tokens that are explained, and what several settings share of the work."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from ligflow.devices.blocks import default_budget
from ligflow.method.baselines import Baseline, Start
from ligflow.paths.attention_path import AttentionPath, attention_path
from ligflow.paths.batch import LayerBatch, starts_together
from ligflow.paths.cross_attention import CrossPath, cross_path
from ligflow.settings import Settings


@dataclass(frozen=True, eq=False)
class Selection:
    """Which tokens of a layer are asked about: the unpadded ones, and the targets among them.

    `memory` are the unpadded tokens of the encoder that the layer attends to, if it does.
    """

    visible: Int[Tensor, " visible"]
    targets: Int[Tensor, " target"]
    memory: Int[Tensor, " memory"] | None = None

    def on(self, device: torch.device) -> "Selection":
        """The same on a device."""
        memory = None if self.memory is None else self.memory.to(device)
        return Selection(self.visible.to(device), self.targets.to(device), memory)

    def sources(self, route: str, tokens: int) -> Int[Tensor, " shown"]:
        """The sources of a route that are not padding: those of the memory follow the layer's own."""
        if self.memory is None or route == "z2u":
            return self.visible
        return self.memory if route == "e2u" else torch.cat([self.visible, tokens + self.memory])


@dataclass(frozen=True, eq=False)
class Workspace:
    """A layer on some sentences, and what was computed for it so far, for the settings that share it.

    `free` says how many bytes blocks of work may take on a device.
    """

    batch: LayerBatch
    selections: tuple[Selection, ...]
    results: dict[Any, Any] = field(default_factory=dict)
    free: Callable[[torch.device], int] = default_budget

    @property
    def rows(self) -> Int[Tensor, " row"]:
        """The targets of all sentences."""
        length = self.batch.tokens
        return torch.cat([part.targets + number * length for number, part in enumerate(self.selections)])

    @property
    def owner(self) -> Int[Tensor, " row"]:
        """The sentence that each target is in."""
        return self.rows // self.batch.tokens

    def once(self, key: Any, compute: Callable[[], Any]) -> Any:
        """The result of `compute`, kept under `key`."""
        if key not in self.results:
            self.results[key] = compute()
        return self.results[key]

    def budget(self, asked: int | None = None) -> int:
        """Bytes for blocks of work: those that were asked for, or a part of what was free when it began."""
        return asked or int(self.once("budget", lambda: self.free(self.batch.z.device)))

    def start(self, baseline: Baseline) -> Start:
        """Where the sources start."""
        layers = zip(self.batch.layers, self.selections, strict=True)
        starts = [baseline.start(layer.hidden, part.visible) for layer, part in layers]
        return starts_together(starts, self.batch.tokens)

    def path(self, baseline: Baseline) -> AttentionPath:
        """Attention along the paths of a baseline."""
        return self.once(("path", baseline), lambda: attention_path(self.batch, self.start(baseline)))

    def cross(self, baseline: Baseline) -> CrossPath | None:
        """The second attention along the path of its memory; None where the layer has none."""
        (layer, *_), (selection, *_) = self.batch.layers, self.selections
        if not layer.findings.memory or selection.memory is None:
            return None
        start = baseline.start(layer.encoded, selection.memory).vectors
        return self.once(("cross", baseline), lambda: cross_path(layer, start))


def key_of_settings(settings: Settings, route: str, baseline: Any) -> tuple[Any, ...]:
    """What tells the attributions of a route under these settings apart."""
    kind = settings.scalarization_of(route)
    how = settings.quadrature, settings.tol, settings.max_nodes
    return baseline, kind, *how, settings.parts, settings.split


def key_of_start(work: Workspace, settings: Settings, key: Any) -> Any:
    """What tells starts apart: that of the memory too, where there is one."""
    memory = work.batch.layers[0].findings.memory
    return (key, settings.encoder_baseline) if memory and key is not None else key
