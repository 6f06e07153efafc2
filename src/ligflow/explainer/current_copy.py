"""When a model is copied: the private copy that an Explainer runs, kept until the model has changed."""

import threading
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ligflow.devices.private_copy import private_copy
from ligflow.devices.weights import check_streamed, check_weights, on_disk, usable, weights_notes
from ligflow.errors import LigflowError
from ligflow.explainer.fingerprint import Structure, checksum
from ligflow.explainer.loaded_runs import LoadedRuns
from ligflow.explainer.placement import Placement
from ligflow.explainer.validated_layers import Validated
from ligflow.inputs.lookups import known_rows


@dataclass(frozen=True, eq=False)
class ModelCopy:
    """A model as it was at one moment: where its layers are computed, and what was validated on it.

    `notes` tell readers of a flow how its weights differ from the model's own. `loaded` are runs of it.
    """

    placement: Placement
    validated: Validated
    notes: tuple[str, ...] = ()
    loaded: LoadedRuns = field(default_factory=LoadedRuns)

    @contextmanager
    def running_on(self, inputs: Mapping[str, Tensor]) -> Iterator[None]:
        """The model can be run on inputs. Errors of its own code are a LigflowError that names both."""
        model = self.placement.model
        try:
            with self.placement.running(), known_rows(model, inputs, self.placement.on_cpu):
                yield
        except LigflowError:
            raise
        except (RuntimeError, ValueError, TypeError, IndexError, AttributeError, KeyError) as error:
            shapes = ", ".join(f"{name}{list(value.shape)}" for name, value in inputs.items())
            raise LigflowError(
                f"{type(model).__name__} could not run on these inputs ({shapes}): {error}"
            ) from error


_looked: ContextVar[Mapping[int, "dict[str, ModelCopy]"]] = ContextVar("_looked", default={})  # noqa: B039


class CurrentCopy:
    """The private copy of a model, which is made and validated anew where the model has changed.

    `model` is the one that was given, or a copy where weights are too short, elsewhere or without
    gradients, or where they stay on disk (`folder`). Layers come to `devices` one by one if they `stay`.
    Weights that the copy of a part of it (`of_part`) has are taken from there.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        devices: tuple[torch.device, ...] = (),
        stay: bool = False,
        folder: str | Path | None = None,
        of_part: "CurrentCopy | None" = None,
    ) -> None:
        self._of_part = of_part
        self._original, self._devices, self._stay, self._folder = weakref.ref(model), devices, stay, folder
        self._lock = threading.RLock()
        self._copy: ModelCopy
        self._structure: Structure
        self._take(model)

    def of(self, model: PreTrainedModel) -> bool:
        """Whether it is a copy of this model."""
        return self._original() is model

    @property
    def home(self) -> torch.device:
        """Where the model's inputs go."""
        return self._copy.placement.home

    @property
    def devices(self) -> tuple[torch.device, ...]:
        """The devices that layers come to; none where they are computed where they lie."""
        return self._copy.placement.devices

    @property
    def notes(self) -> tuple[str, ...]:
        """How the weights that are run differ from the model's own, for readers."""
        return self._copy.notes

    def now(self) -> ModelCopy:
        """The copy of the model as it is now; inside `steady` as it was at the first look."""
        looked = _looked.get().get(id(self))
        if looked is None:
            return self._now()
        if "copy" not in looked:
            looked["copy"] = self._now()
        return looked["copy"]

    @contextmanager
    def steady(self) -> Iterator[None]:
        """The model does not change meanwhile, so that it is looked at once: each look takes all modules."""
        before = _looked.get()
        token = _looked.set(before if id(self) in before else {**before, id(self): {}})
        try:
            yield
        finally:
            _looked.reset(token)

    def _now(self) -> ModelCopy:
        if self._of_part is not None:
            self._of_part.now()
        with self._lock, torch.inference_mode(False):
            original = self._original()
            if original is not None and original is not self.model and self._differs(original):
                self._take(original)
            elif not self._structure.is_now_of(self.model):
                self._look_closely(original)
            return replace(self._copy, validated=self._copy.validated.of_now(), loaded=LoadedRuns())

    def _look_closely(self, original: PreTrainedModel | None) -> None:
        """What took the place of something may be equal to it, as the settings are that were set again."""
        structure = Structure(self.model)
        if structure == self._structure:
            self._structure = structure
        else:
            self._take(original if original is self.model else None)

    def copies(self) -> dict[int, Tensor]:
        """The weights of the copy that stands for the model, by the ids of those that they were made of."""
        original = self._original()
        if original is None or original is self.model:
            return {}
        own = _named(self.model)
        return {id(weight): own[name] for name, weight in _named(original).items() if name in own}

    def placement_of(self, module: nn.Module) -> Placement:
        """Where a layer is computed, also one that was recorded before the model changed."""
        placement = self._copy.placement
        if any(part is module for part in placement.model.modules()):
            return placement
        return Placement(module, placement.devices)

    def _differs(self, original: PreTrainedModel) -> bool:
        return _numbers_too(original) != self._structure_of_original

    def _take(self, original: PreTrainedModel | None) -> None:
        """Prepares what is run for a model; None: for the copy that there is."""
        notes = self._copy.notes if original is None else tuple(weights_notes(original))
        if original is not None:
            model = self._usable(original)
            self.model, self._structure_of_original = model, model is not original and _numbers_too(original)
        self._prepare(notes)

    def _usable(self, model: PreTrainedModel) -> PreTrainedModel:
        if self._stay:
            check_streamed(model)
        known = {} if self._of_part is None else self._of_part.copies()
        if self._folder is not None:
            return on_disk(model, self._folder, known)
        return model if self._stay else usable(model, next(iter(self._devices), None), known)

    def _prepare(self, notes: tuple[str, ...]) -> None:
        """The structure is noted last: where this ends early, the next call begins anew."""
        structure = Structure(self.model)
        check_weights(self.model)
        placement = Placement(private_copy(self.model), self._devices if self._stay else ())
        self._copy = ModelCopy(placement, Validated(placement, fixed=self._folder is not None), notes)
        self._structure = structure


def _named(model: nn.Module) -> dict[str, Tensor]:
    """Weights by all of their names."""
    parameters = model.named_parameters(remove_duplicate=False)
    return {**dict(parameters), **dict(model.named_buffers(remove_duplicate=False))}


def _numbers_too(model: nn.Module) -> tuple[Any, ...]:
    """All that a copy of the model rests on."""
    weights = (*model.parameters(), *model.buffers())
    return Structure(model, hold=False), checksum(weights)
