"""Hooks of the user: they see what the model passes, and what they change is part of what is explained."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from architectures import ARCHITECTURES, build, example
from ligflow import Explainer
from ligflow.evaluation.conformance import check
from recording.test_unmodified_run import by_autograd, off

pytestmark = pytest.mark.usefixtures("no_shape_checks")
IDS = example(ARCHITECTURES["llama"], 5)


@pytest.fixture
def model() -> PreTrainedModel:
    return build(ARCHITECTURES["llama"], torch.float64)


@pytest.mark.parametrize("name", ["llama", "bert", "gpt2", "vit"])
def test_hooks_that_read_their_inputs_find_them_as_the_model_passes_them(name: str) -> None:
    model, inputs = build(ARCHITECTURES[name]), example(ARCHITECTURES[name], 4)
    expected = Explainer(model).explain(inputs)
    layers = next(part for part in model.modules() if isinstance(part, nn.ModuleList))
    passed: set[tuple[int, ...]] = set()
    seen: set[tuple[int, ...]] = set()
    note: set[tuple[int, ...]] = passed

    def after(_module: nn.Module, args: tuple[Any, ...], _output: Any) -> None:
        note.add((len(args), *args[0].shape[1:]))

    def before(_module: nn.Module, args: tuple[Any, ...]) -> None:
        note.add((len(args), *args[0].shape[1:]))

    layers[0].register_forward_hook(after)
    layers[0].register_forward_pre_hook(before)
    model(**inputs)
    note = seen
    flow = Explainer(model).explain(inputs)
    assert seen >= passed
    assert {count for count, *_ in seen} == {count for count, *_ in passed}
    for route in ("z2u", "u2z", "z2z"):
        torch.testing.assert_close(flow.tensors[route], expected.tensors[route])


def moved(by: Tensor) -> Callable[..., Any]:
    return lambda _module, args: (args[0] + by, *args[1:])


def test_what_a_hook_adds_before_a_layer_is_added_once(model: PreTrainedModel) -> None:
    plain = Explainer(model).explain(IDS).z2z
    generator = torch.Generator().manual_seed(0)
    by = torch.randn(model.config.hidden_size, generator=generator, dtype=torch.float64)
    model.layers[1].register_forward_pre_hook(moved(by))
    explainer = Explainer(model)
    first, second = explainer.prepared.record(IDS)
    torch.testing.assert_close(second.hidden, first.output)  # what reaches the hook
    flow = explainer.explain(IDS, tol=1e-6)
    assert not flow.unmet
    assert off(flow.z2z[1, 2], by_autograd(model, 1, 2)) < 1e-5
    assert float((flow.z2z[1] - plain[1]).abs().max()) > 0.01
    assert [one.name for one in check(explainer, [IDS]) if not one.passed] == []


def test_what_a_hook_does_to_a_part_and_to_an_output_is_explained(model: PreTrainedModel) -> None:
    model.layers[0].self_attn.register_forward_pre_hook(
        lambda _module, args, given: (args, given | {"hidden_states": 2 * given["hidden_states"]}),
        with_kwargs=True,
    )
    model.layers[1].register_forward_hook(lambda _module, _args, output: 0.5 * output)
    flow = Explainer(model).explain(IDS, tol=1e-6)
    for index in (0, 1):
        assert off(flow.z2z[index, 3], by_autograd(model, index, 3)) < 1e-5
