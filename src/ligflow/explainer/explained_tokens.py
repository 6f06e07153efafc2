"""Which tokens of recorded layers are explained: those that were given, and are no padding."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager

import torch
from jaxtyping import Int
from torch import Tensor
from transformers import PreTrainedModel

from ligflow.inputs.checks import own_inputs, visible_tokens
from ligflow.layer.layer import Layer
from ligflow.recording.inner_padding import given_rows, is_unseen

FirstLayer = Callable[[Mapping[str, Tensor]], Layer]  # the first layer of a run of the model on these inputs
Ready = Callable[[Layer], AbstractContextManager[None]]


def inputs_seen(inputs: dict[str, Tensor], first: Layer, first_of: FirstLayer) -> dict[str, Tensor]:
    """Of a text and an image what the first layer sees: one tower of two has one of them."""
    text, image = inputs.get("input_ids"), inputs.get("pixel_values")
    if text is None or image is None:
        return inputs

    def sees(changed: dict[str, Tensor]) -> bool:
        return not torch.equal(first_of(inputs | changed).hidden, first.hidden)

    sees_text, sees_image = sees({"input_ids": text.flip(-1)}), sees({"pixel_values": -image})
    unseen = {"pixel_values"} if not sees_image else set()
    unseen |= {"input_ids", "attention_mask"} if not sees_text else set()
    return {name: value for name, value in inputs.items() if name not in unseen}


def rows_of_given(
    inputs: Mapping[str, Tensor],
    first: Layer,
    layers: Sequence[Layer],
    decodes: bool,
    first_of: FirstLayer,
    ready_for: Ready,
) -> Int[Tensor, " given"]:
    """Where the given tokens stand in layers that may have others too, the model's own padding.

    All rows, unless those of the others have no part in what the layers make of the given ones.
    """

    def first_on(name: str, other: Tensor) -> Layer:
        return first_of({**inputs, f"decoder_{name}" if decodes else name: other})

    every_row = torch.arange(len(layers[0].hidden), device=layers[0].hidden.device)
    rows = given_rows(own_inputs(inputs, decodes), first, first_on)
    if rows is None or any(len(layer.hidden) != len(first.hidden) for layer in layers):
        return every_row
    for layer in layers:
        with ready_for(layer):
            if not is_unseen(layer, rows):
                return every_row
    return rows


def visible_among(
    model: PreTrainedModel, inputs: Mapping[str, Tensor], given: Int[Tensor, " given"], decodes: bool
) -> Int[Tensor, " visible"]:
    """Which of the given tokens their own mask does not hide, counted among the given ones."""
    return visible_tokens(model, own_inputs(inputs, decodes), given)


def visible_of_encoder(
    model: PreTrainedModel, inputs: Mapping[str, Tensor], layer: Layer, decodes: bool
) -> Int[Tensor, " visible"] | None:
    """Which of the encoder's tokens that a layer attends to are no padding; None where it attends to none."""
    if not layer.findings.memory:
        return None
    mask = inputs_of_encoder(inputs, decodes).get("attention_mask", inputs.get("encoder_attention_mask"))
    return visible_tokens(model, {} if mask is None else {"attention_mask": mask}, layer.encoded)


def inputs_of_encoder(inputs: Mapping[str, Tensor], decodes: bool) -> Mapping[str, Tensor]:
    """The inputs that an encoder's tokens come from; none are known where its states were given."""
    return inputs if decodes else {}
