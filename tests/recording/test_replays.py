"""Replays are held against what the model computed: errors that name the layer, batches, splits."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from architectures import ARCHITECTURES, build, example
from ligflow.errors import LigflowError, UnsupportedModel
from ligflow.layer.layer import Layer
from ligflow.layer.model_state import prepared
from ligflow.recording.record import record
from ligflow.recording.replays import (
    batches,
    differs,
    refuse_other_output,
    refuse_other_replay,
    replaying,
    tiled,
    with_reference,
)

HIDDEN = torch.randn(3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


class Plain(nn.Module):
    def forward(self, hidden: Tensor) -> Tensor:
        return 2 * hidden


class Loud(Plain):
    def __call__(self, hidden: Tensor) -> Tensor:
        return 1.5 * super().__call__(hidden)


class Shifted(nn.Module):
    def forward(self, hidden: Tensor, by: Tensor) -> Tensor:
        return hidden + by.reshape(hidden.shape)


class First(nn.Module):
    """Makes every example the first one."""

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden[:1].expand_as(hidden)


def layer(module: nn.Module, output: Tensor = 2 * HIDDEN, **arguments: Tensor) -> Layer:
    return Layer(1, "layers.1", module, "hidden", arguments, HIDDEN, output)


@pytest.mark.parametrize(
    "error", [RuntimeError("no kernel"), TypeError("no kernel"), IndexError("no kernel")]
)
def test_errors_of_the_models_code_name_the_layer(error: Exception) -> None:
    with pytest.raises(UnsupportedModel, match=r"Layer 1 \(layers\.1\) cannot be replayed: no kernel"), replaying(layer(Plain())):  # fmt: skip  # noqa: E501
        raise error


def test_a_missing_implementation_is_said() -> None:
    with (
        pytest.raises(UnsupportedModel, match="looks up 'eager', which it does not have"),
        replaying(layer(Plain())),
    ):
        raise KeyError("eager")


def test_a_replay_gives_what_the_layer_gave_in_the_model() -> None:
    refuse_other_output(layer(Plain()), 2 * HIDDEN)
    with pytest.raises(LigflowError, match="gives NaN or infinite values"):
        refuse_other_output(layer(Plain()), HIDDEN / 0)
    with pytest.raises(UnsupportedModel, match=r"differs by 5\.0e-01 from what it gave in the model"):
        refuse_other_output(layer(Plain()), 3 * HIDDEN)
    refuse_other_output(layer(Loud(), 2 * HIDDEN), 2 * HIDDEN)
    with pytest.raises(
        UnsupportedModel, match="Loud has its own __call__, around what hooks see; do in forward"
    ):
        refuse_other_output(layer(Loud()), 3 * HIDDEN)
    refuse_other_replay(layer(Plain()).whole("it is off the interface"))
    with pytest.raises(UnsupportedModel, match=r"off the interface, and its eager attention, .* by 5\.0e-01"):
        refuse_other_replay(layer(Plain(), 4 * HIDDEN).whole("it is off the interface"))


def test_examples_of_a_batch_have_their_own_output_or_come_one_by_one() -> None:
    assert batches(layer(Plain()), 2 * HIDDEN)
    assert not batches(layer(First()), HIDDEN.flip(0))
    by = HIDDEN[None] ** 2
    shifted = layer(Shifted(), HIDDEN + by[0], by=by)
    assert not batches(shifted, HIDDEN + by[0])
    assert tiled(shifted, HIDDEN + by[0]).findings.tiled == ("by",)
    assert tiled(layer(First()), HIDDEN + 1).findings.one_by_one


def test_a_split_is_compared_with_the_models_own_output() -> None:
    model = build(ARCHITECTURES["llama"], torch.float64)
    own = record(model, example(ARCHITECTURES["llama"], 4))[0]
    checked, reference = with_reference(model, own)
    assert not checked.findings.as_loaded
    torch.testing.assert_close(reference, own.output, rtol=0, atol=1e-12)
    with prepared(model, own.implementation), torch.no_grad():
        assert differs(own, reference) == ""
        off = replace(own, output=own.output * (1 + 1e-6))
        assert differs(off, reference).startswith(
            "split at its attention it differs from the model's own (recorded) output by 1.0e-06"
        )
