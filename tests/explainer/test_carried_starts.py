"""Starts that are carried are those of the model's own run: what a layer shares out, the next one has."""

from dataclasses import replace

import pytest
import torch

from ligflow import Explainer, LigflowError, UnsupportedModel
from ligflow.explainer.carried_starts import carried_starts
from ligflow.method.baselines import Mean, Vectors
from ligflow.results import BASELINES
from prediction.tiny import gpt2, ids, llama

CARRIED = BASELINES["carried"]


def states_from(model, inputs, first: torch.Tensor) -> list[torch.Tensor]:
    """What each layer takes in the model's own run, in which the first takes other vectors."""
    stack = model.model.layers if hasattr(model, "model") else model.transformer.h
    noted: list[torch.Tensor] = []
    handles = [
        layer.register_forward_pre_hook(lambda _module, args: noted.append(args[0])) for layer in stack
    ]
    handles.append(
        stack[0].register_forward_pre_hook(lambda _module, args: (first[None], *args[1:]), prepend=True)
    )
    with torch.no_grad():
        model(**inputs)
    for handle in handles:
        handle.remove()
    return noted


@pytest.mark.parametrize("make", [llama, gpt2])
def test_starts_are_the_states_of_the_model_run_on_the_first_of_them(make) -> None:
    model = make(3)
    explainer, inputs = Explainer(model), {"input_ids": ids(5)}
    case = explainer.prepared.example(explainer.prepared.encode(inputs), ("z2z",), None, None)
    own = torch.randn(5, 16, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    for baseline, first in ((Mean(), case.layers[0].hidden.mean(0).expand(5, -1)), (Vectors(own), own)):
        starts = carried_starts(case, baseline)
        wanted_starts = states_from(model, inputs, first)
        for start, wanted in zip(starts, wanted_starts, strict=True):
            torch.testing.assert_close(start, wanted[0], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("make", [llama, gpt2])
def test_a_layer_shares_out_by_how_much_each_token_moved_in_the_next(make) -> None:
    explainer, inputs = Explainer(make(3)), {"input_ids": ids(5)}
    flow = explainer.explain(inputs, **CARRIED)
    case = explainer.prepared.example(explainer.prepared.encode(inputs), ("z2z",), None, None)
    starts = carried_starts(case, Mean())
    for layer in (0, 1):
        moved = (case.layers[layer + 1].hidden - starts[layer + 1]).norm(dim=-1)
        for route in ("z2z", "u2z"):
            torch.testing.assert_close(flow.total(route)[layer], moved, rtol=1e-6, atol=1e-9)
    assert flow.meta["settings"]["carried"] is True
    assert flow.meta["settings"]["layer_baseline"] == "mean"
    apart = explainer.explain(inputs, **BASELINES["mean"])
    assert "carried" not in apart.meta["settings"]
    torch.testing.assert_close(flow.z2z[0], apart.z2z[0])  # the first layer has no other start
    assert (flow.z2z[1] - apart.z2z[1]).abs().max() > 0.01


def test_texts_together_are_as_each_by_itself() -> None:
    explainer = Explainer(llama(3))
    texts = [{"input_ids": ids(count)} for count in (5, 3, 5)]
    texts[2] = {"input_ids": ids(5).flip(1)}
    together = explainer.explain_many(texts, **CARRIED)
    for flow, inputs in zip(together, texts, strict=True):
        alone = explainer.explain(inputs, **CARRIED)
        for route in ("z2u", "u2z", "z2z"):
            torch.testing.assert_close(getattr(flow, route), getattr(alone, route), rtol=1e-9, atol=1e-9)


def test_starts_may_begin_at_a_later_layer() -> None:
    explainer, inputs = Explainer(llama(3)), {"input_ids": ids(5)}
    found = explainer.explain(inputs, layers=[1, 2], **CARRIED)
    alone = explainer.explain(inputs, layers=[1], **BASELINES["mean"])
    torch.testing.assert_close(found.z2z[0], alone.z2z[0])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"layer_baseline": "itb"}, "layer_baseline is 'itb'; choose 'mean', 'zero' or vectors"),
        ({"att_baseline": "itb_zero_ratio"}, "att_baseline is 'itb_zero_ratio'; choose"),
        ({"mlp_baseline": "zero"}, "mlp_baseline is 'zero'; choose 'matched'"),
        ({"experts": "frozen"}, "leave experts out"),
        ({"carried": 1}, "carried is 1; give True or False"),
        ({"layers": [0, 2]}, "do not follow each other: 0, 2. Explain all of 0 to 2"),
    ],
)
def test_what_cannot_be_carried_is_refused(change, said: str) -> None:
    with pytest.raises(LigflowError, match=said):
        Explainer(llama(3)).explain({"input_ids": ids(4)}, **CARRIED | change)


def test_hidden_states_that_change_between_layers_are_refused() -> None:
    explainer, inputs = Explainer(llama(2)), {"input_ids": ids(4)}
    case = explainer.prepared.example(explainer.prepared.encode(inputs), ("z2z",), None, None)
    first, second = case.layers
    changed = replace(case, layers=[first, replace(second, hidden=1.5 * second.hidden)])
    with pytest.raises(
        UnsupportedModel, match="to layer 1: between it and the layer before, the model changes"
    ):
        carried_starts(changed, Mean())
