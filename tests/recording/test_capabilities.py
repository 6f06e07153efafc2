"""What makes a layer fast is checked on it: what may be left out, packed or computed in closed form."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from architectures import ARCHITECTURES, build, example
from ligflow.layer.layer import Layer
from ligflow.layer.model_state import prepared
from ligflow.recording.capabilities import equipped, uneven
from ligflow.recording.record import record


def layer_of(change: Any = lambda _layer: None) -> Layer:
    model = build(ARCHITECTURES["llama"], torch.float64)
    change(model.layers[0])
    layer = record(model, example(ARCHITECTURES["llama"], 4))[0]
    with prepared(model, layer.implementation), torch.no_grad():
        return equipped(layer)


class Places(nn.Module):
    """Adds the number of its place to each token."""

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden + torch.arange(hidden.shape[1], dtype=hidden.dtype)[:, None]


def number_places(layer: nn.Module) -> None:
    layer.mlp.down_proj = nn.Sequential(layer.mlp.down_proj, Places())


def test_a_plain_layer_has_all() -> None:
    found = layer_of().findings
    assert (found.positionwise, found.repeats, found.no_closed_form) == (True, True, "")
    assert found.closed_form is not None
    assert found.closed_form.name == "norm, affine, rotary"
    assert sorted(found.projections.values()) == [16, 16, 32]
    assert found.cost > 20 * 32  # at least what is counted for every number of a token


@pytest.mark.parametrize(("name", "any_length"), [("bert", True), ("gpt2", True), ("llama", False)])
def test_what_follows_attention_runs_on_a_few_tokens_where_positions_are_not_handed_in(
    name: str, any_length: bool
) -> None:
    model = build(ARCHITECTURES[name], torch.float64)
    layer = record(model, example(ARCHITECTURES[name], 6))[0]
    with prepared(model, layer.implementation), torch.no_grad():
        found = equipped(layer)
        assert found.findings.any_length is any_length
        if any_length:
            hidden, u = layer.hidden[None, 2:4], layer.attend(layer.hidden[None])[:, 2:4]
            torch.testing.assert_close(found.finish(hidden, u)[0], layer.output[2:4])


def test_places_that_count_after_attention_are_noticed() -> None:
    found = layer_of(number_places).findings
    assert (found.positionwise, found.repeats) == (False, True)


def test_a_projection_that_is_read_again_is_computed() -> None:
    def read_again(layer: nn.Module) -> None:
        attention, mlp = layer.self_attn, layer.mlp.forward
        kept: list[Tensor] = []
        attention.q_proj.register_forward_hook(lambda _module, _args, output: kept.append(output))
        layer.mlp.forward = lambda hidden: mlp(hidden) + kept[-1]

    assert layer_of(read_again).findings.projections == {}


def test_a_coupled_layer_has_no_closed_form() -> None:
    model = build(ARCHITECTURES["llama"], torch.float64)
    layer = record(model, example(ARCHITECTURES["llama"], 4))[0].coupled("for the test")
    with prepared(model, layer.implementation), torch.no_grad():
        found = equipped(layer).findings
    assert (found.positionwise, found.repeats, found.projections, found.closed_form) == (True, True, {}, None)


@pytest.mark.parametrize("hidden", [torch.ones(3, 8), torch.zeros(3, 8), torch.eye(3, 8)])
def test_tokens_are_changed_in_directions_of_their_own(hidden: Tensor) -> None:
    change = uneven(hidden)
    assert bool((change.norm(dim=-1) > 0).all())
    assert int(torch.linalg.matrix_rank(change)) == 3
