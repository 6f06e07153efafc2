"""Models that change while an Explainer is kept: what it says is of the model as it is now."""

import types
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import BertConfig, BertModel, GPT2Config, GPT2Model, Qwen2Config, Qwen2Model

from ligflow import Explainer, Flow
from ligflow.explainer import current_copy
from ligflow.explainer.current_copy import CurrentCopy

SMALL: dict[str, Any] = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24,
    "vocab_size": 40, "num_key_value_heads": 2,
}  # fmt: skip
IDS = {"input_ids": torch.tensor([[3, 7, 11, 19, 4]])}


def gpt2() -> Any:
    torch.manual_seed(0)
    return GPT2Model(GPT2Config(n_embd=16, n_layer=2, n_head=2, vocab_size=40, n_positions=16)).eval()


def differ(flow: Flow, other: Flow) -> float:
    """The largest difference of a cell, relative to the largest cell."""
    parts = [(flow.tensors[r], other.tensors[r]) for r in flow.routes]
    return max(float((one - two).abs().max() / two.abs().max()) for one, two in parts)


def trained(model: Any) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(20):
        optimizer.zero_grad()
        model(**IDS)[0].pow(2).mean().backward()
        optimizer.step()


def loaded(model: Any) -> None:
    generator = torch.Generator().manual_seed(1)
    state = model.state_dict()
    noise = {name: torch.randn(one.shape, generator=generator) for name, one in state.items()}
    model.load_state_dict({name: one + 0.3 * noise[name] for name, one in state.items()})


def noise_for(parameter: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(parameter.numel())
    return 0.1 * torch.randn(parameter.shape, generator=generator).to(parameter.dtype)


def behind_the_counter(model: Any) -> None:
    for parameter in model.parameters():
        parameter.data += noise_for(parameter)


def other_storage(model: Any) -> None:
    for parameter in model.parameters():
        parameter.data = parameter.data + noise_for(parameter)


def other_eps(model: Any) -> None:
    for part in model.modules():
        if isinstance(part, nn.LayerNorm):
            part.eps = 0.5


def other_norm(model: Any) -> None:
    model.h[0].ln_1 = nn.LayerNorm(16, eps=0.5, elementwise_affine=False)


CHANGES = [trained, loaded, behind_the_counter, other_storage, other_eps, other_norm]


@pytest.mark.parametrize("change", CHANGES)
def test_a_kept_explainer_says_what_a_new_one_says(change: Callable[[Any], None]) -> None:
    """GPT-2's biases are 0 as it is initialised, which the closed forms of an untrained layer rest on."""
    model = gpt2()
    explainer = Explainer(model)
    before = explainer.explain(IDS)
    change(model)
    late = explainer.explain(IDS)
    exact = Explainer(model.double()).explain(IDS)
    assert differ(before, exact) > 0.02
    assert differ(late, exact) < 2e-4
    assert not late.unmet


@pytest.mark.parametrize("change", CHANGES)
def test_copies_of_half_precision_follow_their_model(change: Callable[[Any], None]) -> None:
    model = gpt2().bfloat16()
    explainer = Explainer(model)
    before = explainer.explain(IDS)
    change(model)
    late, new = explainer.explain(IDS), Explainer(model).explain(IDS)
    assert differ(before, new) > 0.02
    assert differ(late, new) < 1e-6


def test_a_forward_in_the_place_of_one_that_is_gone_is_another() -> None:
    """It may get the address of the first, and with it the identity."""
    model = gpt2().bfloat16()
    part = model.h[0].mlp

    def times(factor: float) -> Any:
        return types.MethodType(lambda self, given: factor * type(self).forward(self, given), part)

    part.forward = times(1.0)
    explainer, before, kept = Explainer(model), id(part.forward), list[Any]()
    explainer.explain(IDS, routes="z2z")
    del part.forward
    while id(other := times(30.0)) != before:
        kept.append(other)
        assert len(kept) < 10000
    part.forward = other
    late, new = (one.explain(IDS, routes="z2z") for one in (explainer, Explainer(model)))
    assert differ(late, new) == 0


def test_a_call_that_ends_while_the_model_is_prepared_leaves_nothing_half(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    for name in ("private_copy", "check_weights", "Validated"):
        for model in (gpt2(), gpt2().bfloat16()):
            explainer = Explainer(model)
            other_eps(model)
            with monkeypatch.context() as patch:
                patch.setattr(current_copy, name, interrupted)
                with pytest.raises(KeyboardInterrupt):
                    explainer.explain(IDS)
            assert differ(explainer.explain(IDS), Explainer(model).explain(IDS)) == 0


def test_a_model_whose_type_changes_is_copied_from_then_on() -> None:
    model = gpt2()
    explainer = Explainer(model)
    for kind in (torch.float64, torch.bfloat16, torch.float16, torch.float32, torch.bfloat16):
        model.to(kind)
        late, new = explainer.explain(IDS), Explainer(model).explain(IDS)
        assert differ(late, new) == 0
        assert late.z2z.dtype == new.z2z.dtype


def test_models_of_other_kinds() -> None:
    for model in (BertModel(BertConfig(**SMALL)).eval(), Qwen2Model(Qwen2Config(**SMALL)).eval()):
        explainer = Explainer(model)
        explainer.explain(IDS)
        behind_the_counter(model)
        assert differ(explainer.explain(IDS), Explainer(model).explain(IDS)) < 1e-6


def test_what_has_not_changed_is_not_made_anew() -> None:
    model = gpt2()
    current = CurrentCopy(model)
    first = current.now()
    model.train()(**IDS)
    assert current.now().placement is first.placement
    model.h[0].ln_1.eps = 0.1
    assert current.now().placement is not first.placement


def test_a_layer_that_was_recorded_before_a_change_can_still_be_replayed() -> None:
    model = gpt2()
    explainer = Explainer(model)
    layer = explainer.prepared.record(IDS)[1]
    model.h[0].ln_1.eps = 0.1
    explainer.prepared.record(IDS)
    with explainer.prepared.ready_for(layer), torch.no_grad():
        torch.testing.assert_close(layer.forward(layer.hidden[None])[0], layer.output)


def test_a_steady_model_is_looked_at_once_and_again_afterwards() -> None:
    model = gpt2()
    current = CurrentCopy(model)
    with current.steady():
        first = current.now()
        model.h[0].mlp.c_fc = nn.Linear(16, 64)
        with current.steady():
            assert current.now() is first
        assert current.now() is first
    after = current.now()
    assert after.placement is not first.placement
    assert current.now().placement is after.placement
