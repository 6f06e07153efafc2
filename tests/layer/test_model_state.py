"""A model that was made ready for a run is given back as it was, also after an error."""

import threading
from collections.abc import Iterator

import pytest
import torch
from torch import nn
from transformers import PreTrainedModel

from architectures import ARCHITECTURES, build
from ligflow.layer.model_state import locked, prepared, replaced_outputs


@pytest.fixture
def model() -> PreTrainedModel:
    model = build(ARCHITECTURES["llama"]).train()
    model.layers[0].eval()
    model.norm.weight.requires_grad_(False)
    return model


def state(model: PreTrainedModel) -> list[object]:
    modules = [
        (module.training, len(module._forward_hooks), "forward" in vars(module)) for module in model.modules()
    ]
    return [
        model.config._attn_implementation,
        modules,
        [weight.requires_grad for weight in model.parameters()],
    ]


@pytest.mark.parametrize("implementation", ["ligflow", "eager", None])
def test_a_model_is_given_back_as_it_was(model: PreTrainedModel, implementation: str | None) -> None:
    before = state(model)
    with prepared(model, implementation):
        assert model.config._attn_implementation == (implementation or before[0])
        assert not any(module.training for module in model.modules())
        assert not any(weight.requires_grad for weight in model.parameters())
    assert state(model) == before
    with pytest.raises(ArithmeticError), prepared(model, implementation):
        raise ArithmeticError
    assert state(model) == before


def test_within_another_run_the_outer_settings_come_back(model: PreTrainedModel) -> None:
    with prepared(model):
        with prepared(model, "eager"):
            assert model.config._attn_implementation == "eager"
        assert model.config._attn_implementation == "ligflow"


def test_within_another_run_modules_are_not_looked_through_again(
    model: PreTrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, looked, modules = state(model), [0], model.modules

    def counted() -> Iterator[nn.Module]:
        looked[0] += 1
        return modules()

    monkeypatch.setattr(model, "modules", counted)
    with prepared(model):
        assert looked[0] > 0
        looked[0] = 0
        with prepared(model, "eager"):
            assert model.config._attn_implementation == "eager"
        with prepared(model, None):
            assert model.config._attn_implementation == "ligflow"
        assert looked[0] == 0
        assert not any(module.training for module in modules())
    assert state(model) == before
    with prepared(model):
        assert looked[0] > 0
        assert not any(module.training for module in modules())
        assert not any(weight.requires_grad for weight in model.parameters())
    assert state(model) == before


def test_a_layer_shares_the_lock_of_its_model(model: PreTrainedModel) -> None:
    entered = threading.Event()

    def enter() -> None:
        with locked(model.layers[1]):
            entered.set()

    other = threading.Thread(target=enter)
    with locked(model):
        other.start()
        assert not entered.wait(0.05)
    other.join()
    assert entered.is_set()


def test_replaced_outputs_stand_for_each_token_and_go_again() -> None:
    matrix, outputs = nn.Linear(3, 2), torch.tensor([[[1.0, 2.0]], [[3.0, 4.0]]])
    tokens = torch.randn(2, 4, 3)
    own = matrix(tokens)
    with replaced_outputs({matrix: outputs}):
        assert matrix(tokens).tolist() == [[[1, 2]] * 4, [[3, 4]] * 4]
        assert torch.equal(matrix(torch.eye(3)), matrix.weight.T + matrix.bias)  # another number of examples
    assert torch.equal(matrix(tokens), own)
    with pytest.raises(ArithmeticError), replaced_outputs({matrix: outputs}):
        raise ArithmeticError
    assert "forward" not in vars(matrix)
