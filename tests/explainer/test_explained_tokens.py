"""Which tokens are explained: those that were given, are seen, and are no padding."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from architectures import ARCHITECTURES, build
from ligflow.explainer.explained_tokens import (
    inputs_of_encoder,
    inputs_seen,
    rows_of_given,
    visible_among,
    visible_of_encoder,
)
from ligflow.layer.layer import Layer

IDS = torch.tensor([[3, 9, 4]])
IMAGE = torch.ones(1, 3, 2, 2)


class Mean(nn.Module):
    """Adds the mean of the first tokens."""

    def __init__(self, seen: int) -> None:
        super().__init__()
        self.seen = seen

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden + hidden[:, : self.seen].mean(1, keepdim=True)


def layer_of(hidden: Tensor, seen: int = 3) -> Layer:
    return Layer(0, "layers.0", Mean(seen), "hidden", {}, hidden, hidden)


def padded(inputs: Mapping[str, Tensor], seen: int = 3, name: str = "input_ids") -> Layer:
    """The first layer of a model that fills three tokens up to five."""
    return layer_of(
        torch.cat([inputs[name][0].float()[:, None].expand(-1, 4), torch.full((2, 4), 7.0)]), seen
    )


def ready(_: Layer) -> AbstractContextManager[None]:
    return nullcontext()


@pytest.mark.parametrize(
    ("text", "image", "left"),
    [
        (True, False, {"input_ids", "attention_mask"}),
        (False, True, {"pixel_values"}),
        (True, True, {"input_ids", "attention_mask", "pixel_values"}),
    ],
)
def test_a_tower_has_the_inputs_that_it_sees(text: bool, image: bool, left: set[str]) -> None:
    def first(inputs: Mapping[str, Tensor]) -> Layer:
        hidden = torch.zeros(3, 4)
        hidden = hidden + text * inputs["input_ids"][0, :, None] if text else hidden
        return layer_of(hidden + image * inputs["pixel_values"].sum())

    inputs = {"input_ids": IDS, "attention_mask": torch.ones_like(IDS), "pixel_values": IMAGE}
    assert {*inputs_seen(inputs, first(inputs), first)} == left


def unasked(_: Mapping[str, Tensor]) -> Layer:
    raise AssertionError("the model was run without need")


def test_one_kind_of_input_needs_no_look() -> None:
    inputs: dict[str, Tensor] = {"input_ids": IDS}
    assert inputs_seen(inputs, layer_of(torch.zeros(3, 4)), unasked) is inputs


def given_rows(seen: int, decodes: bool = False) -> list[int]:
    name = "decoder_input_ids" if decodes else "input_ids"
    inputs = {"input_ids": IDS, name: IDS}
    first = padded(inputs, seen, name)
    return rows_of_given(inputs, first, [first], decodes, lambda i: padded(i, seen, name), ready).tolist()


@pytest.mark.parametrize("decodes", [False, True])
def test_padding_of_the_models_own_is_left_out_where_it_takes_no_part(decodes: bool) -> None:
    assert given_rows(3, decodes) == [0, 1, 2]
    assert given_rows(5, decodes) == [0, 1, 2, 3, 4]


def test_every_row_is_kept_where_layers_differ_in_their_tokens() -> None:
    inputs = {"input_ids": IDS}
    layers = [padded(inputs), layer_of(torch.zeros(4, 4))]
    assert rows_of_given(inputs, layers[0], layers, False, padded, ready).tolist() == [0, 1, 2, 3, 4]


def test_a_mask_hides_tokens_of_its_own_stack() -> None:
    bert, rows = build(ARCHITECTURES["bert"]), torch.arange(3)
    own, others = torch.tensor([[1, 0, 1]]), torch.tensor([[0, 1, 1]])
    inputs = {"input_ids": IDS, "attention_mask": own, "decoder_attention_mask": others}
    assert visible_among(bert, inputs, rows, decodes=False).tolist() == [0, 2]
    assert visible_among(bert, inputs, rows, decodes=True).tolist() == [1, 2]


def test_a_mask_hides_the_encoders_tokens() -> None:
    bert: Any = build(ARCHITECTURES["bert"])
    alone = layer_of(torch.zeros(3, 4))
    assert visible_of_encoder(bert, {}, alone, decodes=True) is None
    memory = replace(
        alone, arguments={"states": torch.zeros(1, 3, 4)}, findings=replace(alone.findings, memory="states")
    )
    mask = torch.tensor([[1, 1, 0]])
    for decodes, name in ((True, "attention_mask"), (False, "encoder_attention_mask")):
        visible = visible_of_encoder(bert, {name: mask}, memory, decodes)
        assert visible is not None
        assert visible.tolist() == [0, 1]
    assert inputs_of_encoder({"input_ids": IDS}, decodes=False) == {}
    assert inputs_of_encoder({"input_ids": IDS}, decodes=True) == {"input_ids": IDS}
