"""All layers of a whole model on one example, recorded and validated, stack by stack."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import cast

from torch import Tensor
from transformers import PreTrainedModel

from ligflow.errors import UnsupportedModel
from ligflow.explainer.current_copy import ModelCopy
from ligflow.inputs.checks import taken_by
from ligflow.layer.interface import IMPLEMENTATION
from ligflow.layer.layer import Layer
from ligflow.prediction.inner_states import noting_inner, with_inner
from ligflow.prediction.two_runs import Run, layer_runs, noting_embeddings, reading
from ligflow.recording.model_runs import recording_run
from ligflow.recording.record import calls_as_loaded, record, stacks


@dataclass(frozen=True, eq=False)
class Recorded:
    """The layers of a model's stacks, which of them are a decoder's behind an encoder, and the run itself.

    `run` is None where they are replayed with another attention than they were recorded with.
    """

    layers: list[Layer]
    decoder: list[Layer]
    run: Run | None = None


def recorded_layers(
    copy: ModelCopy, inputs: Mapping[str, Tensor], positions: Sequence[int] | None
) -> Recorded:
    """The layers of every stack; a vocabulary head is computed at some positions alone.

    Raises LigflowError where the model does not run on the inputs, UnsupportedModel where it has no layers.
    """
    model = cast(PreTrainedModel, copy.placement.model)
    taken = taken_by(model, inputs)
    with copy.running_on(taken), reading(model, positions):
        with noting_embeddings(model) as embedded, noting_inner(model) as inner:
            noted = recording_run(model, taken)
        loaded = cache(lambda: copy.loaded.take(taken) or calls_as_loaded(model, taken))
        names = stacks(model, taken, noted) if _several(model) else [None]
        by_stack = {name: record(model, taken, name, noted, loaded) for name in names}
    every: list[Layer] = []
    decoder: list[Layer] = []
    for name, layers in by_stack.items():
        validated = copy.validated(layers)
        every += validated
        if name is not None and model.config.is_encoder_decoder and "decoder" in name:
            decoder += validated
    if not every:
        raise UnsupportedModel(f"{type(model).__name__} has no layers that were recognised.")
    same = not noted.refusal and {layer.implementation for layer in every} == {IMPLEMENTATION}
    run = Run(embedded[0], layer_runs(noted.calls, every), noted.outputs) if same else None
    return Recorded(every, decoder, None if run is None else with_inner(run, inner))


def _several(model: PreTrainedModel) -> bool:
    return bool(getattr(model.config, "is_encoder_decoder", False))
