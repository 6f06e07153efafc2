"""What is explained is what the model runs with the attention that it was loaded with."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask
from transformers.models.llama import modeling_llama

from architectures import ARCHITECTURES, build, example
from brute_force import fine_rule
from ligflow import Explainer, UnsupportedModel, attribute_layer
from ligflow.evaluation.conformance import check
from ligflow.recording.unmodified_run import few_logits
from prediction import tiny

pytestmark = pytest.mark.usefixtures("no_shape_checks")
LLAMA = ARCHITECTURES["llama"]
IDS = example(LLAMA, 5)


def llama() -> PreTrainedModel:
    return build(LLAMA, torch.float64)


def bidirectional(model: PreTrainedModel) -> None:
    """As embedding models are made of decoders."""
    for layer in model.layers:
        layer.self_attn.is_causal = False


def registered(model: PreTrainedModel, function: Callable[..., Any], mask: Callable[..., Any]) -> None:
    AttentionInterface.register("for the test", function)
    AttentionMaskInterface.register("for the test", mask)
    model.set_attn_implementation("for the test")


def some_see_ahead(*args: Any, **kwargs: Any) -> Tensor:
    mask = sdpa_mask(*args, **(kwargs | {"allow_is_causal_skip": False})).clone()
    mask[..., 0, 3], mask[..., 4, 0] = True, False
    return mask


def no_first_head(*args: Any, **kwargs: Any) -> tuple[Tensor, None]:
    out = sdpa_attention_forward(*args, **kwargs)[0].clone()
    out[:, :, 0] = 0
    return out, None


def own_mask(model: PreTrainedModel) -> None:
    registered(model, sdpa_attention_forward, some_see_ahead)


def no_mask(model: PreTrainedModel) -> None:
    registered(model, sdpa_attention_forward, lambda *_args, **_kwargs: None)


def own_function(model: PreTrainedModel) -> None:
    registered(model, no_first_head, sdpa_mask)


@pytest.fixture
def sdpa_anew() -> Iterator[Callable[[PreTrainedModel], None]]:
    def register(model: PreTrainedModel) -> None:
        AttentionInterface.register("sdpa", no_first_head)
        model.set_attn_implementation("sdpa")

    yield register
    AttentionInterface.register("sdpa", sdpa_attention_forward)


def layer_of(model: PreTrainedModel, index: int) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Hidden states, and the model's own layer, called with all that the model passes to it."""
    kept: list[Any] = []
    module = model.layers[index]
    hook = module.register_forward_pre_hook(
        lambda _, args, kwargs: kept.append((args, kwargs)), prepend=True, with_kwargs=True
    )
    with torch.no_grad():
        model(**IDS, use_cache=False)
    hook.remove()
    (hidden,), given = kept[0]
    return hidden[0], lambda changed: module(changed, **given)


def by_autograd(model: PreTrainedModel, index: int, target: int) -> Tensor:
    """A row of z2z under itb: plain gradients through the model's own layer, finely integrated."""
    hidden, run = layer_of(model, index)
    start = hidden[target].expand_as(hidden)
    first = run(start[None])[0, target].detach()
    row, rule = torch.zeros(len(hidden), dtype=hidden.dtype), fine_rule(to_origin=False, kinks=False)
    for node, weight in zip(rule.nodes.tolist(), rule.weights.tolist(), strict=True):
        at = (start + node * (hidden - start)).requires_grad_()
        (slope,) = torch.autograd.grad((run(at[None])[0, target] - first).norm(), at)
        row += weight * (slope * (hidden - start)).sum(-1)
    return row.detach()


def off(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("changed", [bidirectional, own_mask, no_mask])
def test_another_mask_is_followed(changed: Callable[[PreTrainedModel], None]) -> None:
    model = llama()
    causal = Explainer(model).explain(IDS).z2z
    changed(model)
    explainer = Explainer(model)
    flow = explainer.explain(IDS, tol=1e-6)
    assert not flow.unmet
    for index in (0, 1):
        assert off(flow.z2z[index, 1], by_autograd(model, index, 1)) < 1e-5
    said = any("masked as the model was loaded" in note for note in flow.meta["notes"])
    assert said == bool((flow.z2z - causal).abs().max() > 0.01) == (changed is not no_mask)
    assert [one.name for one in check(explainer, [IDS]) if not one.passed] == []
    weights = explainer.attention(IDS)
    assert float(weights[0, :, 0, 3].min() > 0) == said
    torch.testing.assert_close(weights.sum(-1), torch.ones_like(weights[..., 0]))


def test_many_texts_are_followed_as_each_is_alone() -> None:
    """Filled up to one length, they would be given a causal mask that each alone is not."""
    model = llama()
    bidirectional(model)
    explainer, texts = Explainer(model), [example(LLAMA, count) for count in (5, 3, 5)]
    for flow, text in zip(explainer.explain_many(texts, tol=1e-6), texts, strict=True):
        alone = explainer.explain(text, tol=1e-6)
        assert off(flow.z2z, alone.z2z) < 1e-9
        assert float(flow.z2z[0, 0, 2].abs()) > 0.01 * float(flow.z2z[0, 0].abs().max())  # it sees ahead
        assert flow.meta["notes"] == alone.meta["notes"]


def test_the_layers_of_a_bidirectional_decoder_are_those_in_its_hooks() -> None:
    model = llama()
    bidirectional(model)
    expected, flows = Explainer(model).explain(IDS), []
    hooks = [
        layer.register_forward_pre_hook(
            lambda module, args, kwargs: flows.append(attribute_layer(module, *args, **kwargs)),
            with_kwargs=True,
        )
        for layer in model.layers
    ]
    model(**IDS, use_cache=False)
    for hook in hooks:
        hook.remove()
    for index, flow in enumerate(flows):
        assert off(flow.z2u[0], expected.z2u[index]) < 1e-5


@pytest.mark.parametrize("anew", [False, True])
def test_another_function_leaves_z2z(anew: bool, sdpa_anew: Callable[[PreTrainedModel], None]) -> None:
    model = llama()
    (sdpa_anew if anew else own_function)(model)
    explainer = Explainer(model)
    flow = explainer.explain(IDS, routes="z2z", tol=1e-6)
    for index in (0, 1):
        assert off(flow.z2z[index, 2], by_autograd(model, index, 2)) < 1e-5
    reason = r"\('(sdpa|for the test)'\) gives other than a softmax of its queries and keys with a mask"
    for asked in (explainer.explain, explainer.attention):
        with pytest.raises(UnsupportedModel, match=reason):
            asked(IDS)
    (hidden, _), seen = layer_of(model, 0), explainer.prepared.record(IDS)[0]
    torch.testing.assert_close(seen.hidden, hidden)
    verdicts = {one.name: one for one in check(explainer, [IDS])}
    assert all(one.passed for one in verdicts.values())
    assert verdicts["layers split at their attention"].measured == "0 of 2"


def test_a_patched_eager_attention_counts_where_the_model_was_loaded_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = modeling_llama.eager_attention_forward

    def hotter(*args: Any, scaling: float, **kwargs: Any) -> Any:
        return own(*args, scaling=2 * scaling, **kwargs)

    model = llama()
    expected = Explainer(model).explain(IDS)
    monkeypatch.setattr(modeling_llama, "eager_attention_forward", hotter)
    torch.testing.assert_close(Explainer(model).explain(IDS).z2u, expected.z2u)  # it runs sdpa
    model.set_attn_implementation("eager")
    with pytest.raises(UnsupportedModel, match=r"\('eager'\) gives other than a softmax"):
        Explainer(model).explain(IDS)
    flow = Explainer(model).explain(IDS, routes="z2z", tol=1e-6)
    assert off(flow.z2z[1, 3], by_autograd(model, 1, 3)) < 1e-5


def test_layers_that_are_not_those_of_the_model_fail_a_check(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the recorded run taken for the model's own, as if nothing were looked at."""
    monkeypatch.setattr("ligflow.recording.record.followed", lambda _model, layers, *_rest: layers)
    model = llama()
    bidirectional(model)
    failed = [one.name for one in check(Explainer(model), [IDS]) if not one.passed]
    assert "layers are as the model runs" in failed


def test_maps_read_the_head_at_one_token_where_nobody_asks_what_it_says() -> None:
    shapes: list[torch.Size] = []
    model = tiny.llama()
    explainer = Explainer(model)
    head: Any = explainer.prepared.now().placement.model.get_output_embeddings()
    head.register_forward_hook(lambda _module, _args, output: shapes.append(output.shape))
    explainer.explain(IDS)
    assert {shape[1] for shape in shapes} == {1}
    few = few_logits(model, IDS)
    assert few["logits_to_keep"].tolist() == [0]
    with torch.no_grad():
        assert model(**IDS, **few).logits.shape[:2] == (1, 1)
    assert few_logits(model, {**IDS, "labels": IDS["input_ids"]}) == {}
    assert few_logits(model.model, IDS) == {}
