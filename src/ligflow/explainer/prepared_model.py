"""The model that an Explainer was given, and the copy that it runs, made anew where the model has changed."""

import threading
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from ligflow.devices.private_copy import private_copy
from ligflow.devices.weights import check_streamed, check_weights, on_disk, usable
from ligflow.explainer.fingerprint import Structure, checksum
from ligflow.explainer.placement import Placement
from ligflow.explainer.validated import Validated


@dataclass(frozen=True, eq=False)
class Prepared:
    """A model as it was at one moment, where its layers are computed, and what was validated on it."""

    places: Placement
    validated: Validated


class PreparedModel:
    """Hands out the private copy of a model, which is made and validated anew where the model has changed.

    `model` is the one that was given, or a copy where weights are too short, elsewhere or without
    gradients, or where they stay on disk (`folder`). Layers come to `devices` one by one if they `stay`.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        devices: tuple[torch.device, ...] = (),
        stay: bool = False,
        folder: str | Path | None = None,
    ) -> None:
        self._given, self._devices, self._stay, self._folder = weakref.ref(model), devices, stay, folder
        self._lock = threading.RLock()
        self._take(model)

    @property
    def home(self) -> torch.device:
        """Where the model's inputs go."""
        return self._prepared.places.home

    @property
    def devices(self) -> tuple[torch.device, ...]:
        """The devices that layers come to; none where they are computed where they lie."""
        return self._prepared.places.devices

    def now(self) -> Prepared:
        """The copy of the model as it is now."""
        with self._lock, torch.inference_mode(False):
            given = self._given()
            if given is not None and given is not self.model and _numbers_too(given) != self._seen_given:
                self._take(given)
            elif Structure(self.model) != self._seen:
                self._take(given if given is self.model else None)
            return Prepared(self._prepared.places, self._prepared.validated.of_now())

    def places_of(self, module: nn.Module) -> Placement:
        """Where a layer is computed, also one that was recorded before the model changed."""
        places = self._prepared.places
        if any(part is module for part in places.model.modules()):
            return places
        return Placement(module, places.devices)

    def _take(self, given: PreTrainedModel | None) -> None:
        """Prepares what is run for a model; None: for the copy that there is."""
        if given is not None:
            made = self._made(given)
            self.model, self._seen_given = made, None if made is given else _numbers_too(given)
        self._prepare()

    def _made(self, model: PreTrainedModel) -> PreTrainedModel:
        if self._stay:
            check_streamed(model)
        if self._folder is not None:
            return on_disk(model, self._folder)
        return model if self._stay else usable(model, *self._devices)

    def _prepare(self) -> None:
        """What was seen is noted last: where this ends early, the next call begins anew."""
        seen = Structure(self.model)
        check_weights(self.model)
        places = Placement(private_copy(self.model), self._devices if self._stay else ())
        self._prepared = Prepared(places, Validated(places, fixed=self._folder is not None))
        self._seen = seen


def _numbers_too(model: nn.Module) -> tuple[Any, ...]:
    """All that a copy of the model rests on."""
    weights = (*model.parameters(), *model.buffers())
    return Structure(model, hold=False), checksum(weights)
