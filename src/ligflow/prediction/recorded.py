"""All layers of a whole model on one example, recorded and validated, stack by stack."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from torch import Tensor
from transformers import PreTrainedModel

from ligflow.errors import UnsupportedModel
from ligflow.explainer.current_copy import ModelCopy
from ligflow.inputs.checks import taken_by
from ligflow.layer.layer import Layer
from ligflow.prediction.two_runs import reading
from ligflow.recording.record import record, stacks


@dataclass(frozen=True, eq=False)
class Recorded:
    """The layers of a model's stacks, and which of them are a decoder's behind an encoder."""

    layers: list[Layer]
    decoder: list[Layer]


def recorded_layers(
    copy: ModelCopy, inputs: Mapping[str, Tensor], positions: Sequence[int] | None
) -> Recorded:
    """The layers of every stack; a vocabulary head is computed at some positions alone.

    Raises LigflowError where the model does not run on the inputs, UnsupportedModel where it has no layers.
    """
    model = cast(PreTrainedModel, copy.placement.model)
    taken = taken_by(model, inputs)
    with copy.running_on(taken), reading(model, positions):
        names = stacks(model, taken) if _several(model) else [None]
        by_stack = {name: record(model, taken, name) for name in names}
    every: list[Layer] = []
    decoder: list[Layer] = []
    for name, layers in by_stack.items():
        validated = copy.validated(layers)
        every += validated
        if name is not None and model.config.is_encoder_decoder and "decoder" in name:
            decoder += validated
    if not every:
        raise UnsupportedModel(f"{type(model).__name__} has no layers that were recognised.")
    return Recorded(every, decoder)


def _several(model: PreTrainedModel) -> bool:
    return bool(getattr(model.config, "is_encoder_decoder", False))
