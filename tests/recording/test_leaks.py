"""What a token may depend on is found out by changing one token: before attention, after it, beside it."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from architectures import ARCHITECTURES, build, example
from ligflow.layer.layer import Layer
from ligflow.layer.model_state import prepared
from ligflow.recording.leaks import forms_move, has_shared_keys, leaks_after, leaks_before, no_path
from ligflow.recording.record import record


class Then(nn.Module):
    """A module, and what is made of its output."""

    def __init__(self, own: nn.Module, change: Any) -> None:
        super().__init__()
        self.own, self.change = own, change

    def forward(self, hidden: Tensor) -> Tensor:
        return self.change(self.own(hidden))


@pytest.fixture
def model() -> PreTrainedModel:
    return build(ARCHITECTURES["llama"], torch.float64)


def found(model: PreTrainedModel) -> tuple[str, str]:
    layer: Layer = record(model, example(ARCHITECTURES["llama"], 4))[0]
    with prepared(model, layer.implementation), torch.no_grad():
        return leaks_before(layer), leaks_after(layer)


def test_a_plain_layer_leaks_nothing(model: PreTrainedModel) -> None:
    assert found(model) == ("", "")


@pytest.mark.parametrize(
    ("projection", "part"), [("q_proj", "query"), ("k_proj", "key"), ("v_proj", "value")]
)
def test_tokens_that_mix_before_attention_are_told_by_the_part(
    model: PreTrainedModel, projection: str, part: str
) -> None:
    attention = model.layers[0].self_attn
    setattr(attention, projection, Then(getattr(attention, projection), lambda x: x + 1e-3 * x.roll(1, 1)))
    assert found(model) == (f"the {part} of a token depends on other tokens", "")


def test_tokens_that_mix_after_attention_are_told(model: PreTrainedModel) -> None:
    mlp = model.layers[0].mlp
    mlp.down_proj = Then(mlp.down_proj, lambda x: x + 1e-3 * x.mean(1, keepdim=True))
    assert found(model) == ("", "the output of a token depends on other tokens outside its attention")


def test_keys_that_are_made_without_the_hidden_states_are_told(model: PreTrainedModel) -> None:
    attention = model.layers[0].self_attn
    for name in ("k_proj", "v_proj"):
        setattr(attention, name, Then(getattr(attention, name), torch.ones_like))
    first, second = record(model, example(ARCHITECTURES["llama"], 4))
    for layer, shared in ((first, True), (second, False)):
        with prepared(model, layer.implementation), torch.no_grad():
            assert (leaks_after(layer), has_shared_keys(layer)) == ("", shared)


def test_a_path_has_a_derivative_and_forms_stay(model: PreTrainedModel) -> None:
    layer = record(model, example(ARCHITECTURES["llama"], 4))[0]
    with prepared(model, layer.implementation), torch.no_grad():
        assert no_path(layer) == ""
        assert not forms_move(layer)


def test_a_projection_without_a_forward_derivative_is_told(model: PreTrainedModel) -> None:
    class Cube(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x**3

        @staticmethod
        def backward(ctx: Any, *grad: Tensor) -> Any:
            raise NotImplementedError

    attention = model.layers[0].self_attn
    attention.q_proj = Then(attention.q_proj, Cube.apply)
    layer = record(model, example(ARCHITECTURES["llama"], 4))[0]
    with prepared(model, layer.implementation), torch.no_grad():
        assert no_path(layer).startswith("forward-mode differentiation cannot follow its projections: ")
