"""Attention off the interface, seen at its softmax: forms, heads against the unmodified layer, refusals."""

from collections.abc import Callable

import pytest
import torch
from packaging.version import Version
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

from architectures import ARCHITECTURES, DISENTANGLED, INSTALLED, build, example
from ligflow import Explainer, UnsupportedModel
from ligflow.evaluation.conformance import check
from ligflow.layer.layer import Layer
from ligflow.layer.model_state import prepared
from ligflow.layer.softmax_watch import Watch, finding
from ligflow.method.attention import ScoreTerms, attention_output, attention_weights
from sweep.made_up import runs
from sweep.verdicts import build as build_tiny

HEADS = {  # the matrix that takes the heads side by side
    "bloom": "self_attention.dense",
    "falcon": "self_attention.dense",
    "gptj": "attn.out_proj",
    "mpnet": "attention.attn.o",
    "deberta-v2": "attention.output.dense",
}
OFF_INTERFACE = HEADS.keys() - ({"gptj"} if Version("5.24.0") <= INSTALLED else set())
ALL = {**ARCHITECTURES, "deberta-v2": DISENTANGLED}


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def heads_by_hook(model: PreTrainedModel, layer: Layer, projection: str, hidden: Tensor) -> Tensor:
    seen: list[Tensor] = []
    hook = layer.module.get_submodule(projection).register_forward_pre_hook(
        lambda _, given: seen.append(given[0])
    )
    try:
        with prepared(layer.module, "eager"), torch.no_grad():
            layer.forward(hidden)
    finally:
        hook.remove()
    return seen[0]


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize(("tokens", "padding"), [(1, 0), (2, 0), (6, 0), (5, 3)])
def test_heads_are_what_the_unmodified_layer_projects(name: str, tokens: int, padding: int) -> None:
    model, inputs = build(ALL[name], torch.float64), example(ALL[name], tokens, padding)
    for layer in Explainer(model).prepared.record(inputs):
        assert layer.mode != "whole"
        assert len(layer.forms) == (name in OFF_INTERFACE)
        hidden = layer.hidden.flip(-1) + random(2, *layer.hidden.shape)
        expected = heads_by_hook(model, layer, HEADS[name], hidden)
        with prepared(layer.module, layer.implementation), torch.no_grad():
            found = layer.attend(hidden).flatten(2)
        torch.testing.assert_close(found[:, :tokens], expected[:, :tokens], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    "model_type",
    [
        "codegen",
        "data2vec-vision",
        "gpt_neo",
        "layoutlmv3",
        "openai-gpt",
        "rembert",
        "roformer",
        "xlm",
    ],
)
def test_split_layers_are_the_unmodified_ones_on_other_hidden_states(model_type: str) -> None:
    model = build_tiny(model_type).double()
    inputs, why = runs(model)
    assert inputs is not None, why
    for layer in Explainer(model).prepared.record(inputs):
        assert layer.mode == "split"
        hidden = (layer.hidden.flip(-1) - layer.hidden.roll(1, 0))[None]
        with prepared(layer.module, layer.implementation), torch.no_grad():
            found, own = layer.finish(hidden, layer.attend(hidden)), layer.forward(hidden)
        torch.testing.assert_close(found, own, rtol=1e-8, atol=1e-10)


def test_a_bias_that_moves_with_the_hidden_states_is_told_apart() -> None:
    for layer in Explainer(build(DISENTANGLED)).prepared.record(example(DISENTANGLED)):
        assert layer.findings.reason == "its mask or position bias depends on the hidden states"
    assert all(one.passed for one in check(Explainer(build(DISENTANGLED))))
    for name in ("bloom", "falcon", "gptj", "mpnet"):
        for layer in Explainer(build(ARCHITECTURES[name])).prepared.record(example(ARCHITECTURES[name])):
            assert (layer.findings.reason, layer.findings.one_by_one) == ("", False)
            assert layer.findings.closed_form is not None, layer.findings.no_closed_form


class Halved(nn.Module):
    def forward(self, weights: Tensor) -> Tensor:
        return weights / 2


def test_weights_that_are_changed_after_the_softmax_leave_z2z() -> None:
    model = build(ARCHITECTURES["mpnet"])
    for layer in model.encoder.layer:
        layer.attention.attn.dropout = Halved()
    explainer, inputs = Explainer(model), example(ARCHITECTURES["mpnet"])
    for layer in explainer.prepared.record(inputs):
        assert (
            "split at its attention it differs from the model's own (eager) output" in layer.findings.reason
        )
    assert not explainer.explain(inputs, routes="z2z").unmet


def test_a_flow_says_how_its_attention_was_seen() -> None:
    explainer, inputs = Explainer(build(ARCHITECTURES["mpnet"])), example(ARCHITECTURES["mpnet"], 3)
    said = "attention off the interface, seen at its softmax: layers 0, 1"
    assert explainer.explain(inputs).meta["notes"] == [said]
    bert = Explainer(build(ARCHITECTURES["bert"])).explain(inputs)
    assert said not in bert.meta["notes"]


def test_what_counts_heads_and_examples_in_one_axis_is_given_for_each_example() -> None:
    for layer in Explainer(build(ARCHITECTURES["bloom"])).prepared.record(example(ARCHITECTURES["bloom"])):
        assert layer.findings.tiled == ("alibi",)


def test_forms_do_not_stay_from_one_text_to_the_next() -> None:
    explainer = Explainer(build(ARCHITECTURES["mpnet"]))
    inputs = [example(ARCHITECTURES["mpnet"], tokens) for tokens in (3, 7, 5)]
    flows = explainer.explain_many(inputs)
    for given, flow in zip(inputs, flows, strict=True):
        alone = Explainer(build(ARCHITECTURES["mpnet"])).explain(given)
        torch.testing.assert_close(flow.z2z, alone.z2z, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(flow.z2u, alone.z2u, rtol=1e-4, atol=1e-5)


# --- one attention, written in several ways -------------------------------------------------------

SCALE = 0.3
MASK = torch.ones(5, 5, dtype=torch.bool).tril()
LOWEST = torch.finfo(torch.float64).min
Attend = Callable[[Tensor, Tensor, Tensor], Tensor]


def masked_fill(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    scores = (q @ k.transpose(-1, -2)).mul(SCALE).masked_fill(~MASK, LOWEST)
    return functional.dropout(functional.softmax(scores, dim=-1), 0.5, training=False) @ v


def added(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    scores = torch.matmul(q, k.transpose(-1, -2)) * SCALE
    scores += torch.zeros(5, 5).double().masked_fill(~MASK, LOWEST)
    return torch.matmul(scores.softmax(-1), v)


def overwritten(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    scores = torch.matmul(q * SCALE, k.transpose(-1, -2))
    return torch.softmax(scores * MASK - 1e4 * ~MASK, dim=-1).matmul(v)


def chosen(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    scores = torch.where(MASK, SCALE * torch.matmul(q, k.mT), torch.tensor(LOWEST))
    return torch.nn.Softmax(dim=-1)(torch.max(scores, torch.tensor(LOWEST))) @ v


def shifted(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    scores = (q @ k.mT * SCALE + torch.zeros(5, 5).masked_fill(~MASK, -1e30)) / 32
    return torch.softmax((scores - scores.amax(-1, keepdim=True)) * 32, dim=-1) @ v


def folded(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    bias = torch.zeros(6, 5, 5).double().masked_fill(~MASK, LOWEST)
    scores = bias.baddbmm(batch1=q.flatten(0, 1), batch2=k.flatten(0, 1).mT, beta=1.0, alpha=SCALE)
    weights = functional.softmax(scores.view(2, 3, 5, 5), dim=-1).view(6, 5, 5)
    return torch.bmm(weights, v.flatten(0, 1)).view(2, 3, 5, 4)


def fused(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return functional.scaled_dot_product_attention(q, k, v, attn_mask=MASK, scale=SCALE)


def fused_causal(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return functional.scaled_dot_product_attention(q, k, v, is_causal=True, scale=SCALE)


WAYS: list[Attend] = [masked_fill, added, overwritten, chosen, shifted, folded, fused, fused_causal]


@pytest.mark.parametrize("attend", WAYS)
def test_an_attention_is_seen_however_it_is_written(attend: Attend) -> None:
    forms: list[ScoreTerms] = []

    def note(query: Tensor, key: Tensor, value: Tensor, form: ScoreTerms) -> Tensor:
        forms.append(form)
        return attention_output(attention_weights(query, key, form), value)

    first, other = ([random(2, 3, 5, 4, seed=3 * n + i) for i in range(3)] for n in range(2))
    with torch.no_grad(), torch.autograd.forward_ad.dual_level(), Watch(note, examples=2):
        seen = attend(*first)
    torch.testing.assert_close(seen, attend(*first), rtol=1e-12, atol=1e-12)
    assert len(forms) == 1
    known = forms[0]
    # the form holds for other queries and keys, up to what the rows of a softmax ignore
    with Watch(note, examples=2, known=[(known, 3)]):
        again = attend(*other)
    assert again.is_contiguous()
    torch.testing.assert_close(again, attend(*other), rtol=1e-10, atol=1e-12)
    assert known.scaling * (1 if attend is not overwritten else SCALE) == pytest.approx(SCALE, rel=1e-12)


def repeated(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    k, v = (one.repeat_interleave(2, dim=1) for one in (k, v))
    return masked_fill(q, k, v)


def repeated_and_fused(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return fused(q, *(one.repeat_interleave(2, dim=1) for one in (k, v)))


def grouped_and_fused(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return functional.scaled_dot_product_attention(q, k, v, MASK, scale=SCALE, enable_gqa=True)


@pytest.mark.parametrize("attend", [repeated, repeated_and_fused, grouped_and_fused])
def test_keys_that_are_repeated_for_heads_are_taken_once(attend: Attend) -> None:
    seen: list[tuple[Tensor, Tensor, ScoreTerms]] = []

    def note(query: Tensor, key: Tensor, value: Tensor, form: ScoreTerms) -> Tensor:
        seen.append((key, value, form))
        return attention_output(attention_weights(query, key, form), value)

    q, k, v = random(2, 6, 5, 4), random(2, 3, 5, 4, seed=1), random(2, 3, 5, 4, seed=2)
    with finding(note):
        attend(q, k, v)
    key, value, form = seen[0]
    assert torch.equal(key, k)
    assert torch.equal(value, v)
    with Watch(note, known=[(form, 3)]):  # at other states, where all are the same
        found = attend(q, torch.ones_like(k), v)
    assert seen[1][0].shape == k.shape
    torch.testing.assert_close(found, attend(q, torch.ones_like(k), v), rtol=1e-12, atol=1e-12)


def test_what_is_put_in_the_place_of_u_goes_on() -> None:
    q, k, v = (random(2, 3, 5, 4, seed=seed) for seed in range(3))
    mine = random(2, 3, 5, 4, seed=9)
    with Watch(lambda *_: mine, examples=2, known=[(ScoreTerms(SCALE), 3)]):
        assert torch.equal(folded(q, k, v), mine)
        assert torch.equal(fused(q, k, v), mine)


def test_a_bias_of_the_moment_follows_the_scores() -> None:
    q, k, v = (random(2, 3, 5, 4, seed=seed) for seed in range(3))

    def bent(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return torch.softmax(torch.tanh(q @ k.mT) * 2 + (q * q).sum(-1)[:, :, None], -1) @ v

    with Watch(
        lambda q, k, v, form: attention_output(attention_weights(q, k, form), v),
        known=[(ScoreTerms(0.7), 3)],
        moves=True,
    ):
        seen = bent(q, k, v)
    torch.testing.assert_close(seen, bent(q, k, v), rtol=1e-12, atol=1e-12)


def test_products_that_are_no_attention_are_left_alone() -> None:
    calls: list[ScoreTerms] = []
    tokens, experts, values = random(1, 5, 4), random(4, 3, seed=1), random(1, 3, 4, seed=2)

    def routed() -> Tensor:
        mixed = torch.softmax(tokens @ experts, -1) @ values  # a router: its keys are weights
        gram = tokens @ tokens.mT @ tokens  # no softmax
        across = torch.softmax(tokens @ tokens.mT, -1).sum(-1, keepdim=True) * tokens
        return mixed + gram + across

    def note(query: Tensor, key: Tensor, value: Tensor, form: ScoreTerms) -> Tensor:
        calls.append(form)
        return query

    with finding(note):
        found = routed()
    assert torch.equal(found, routed())
    assert calls == []


def test_weights_that_are_dropped_at_random_are_refused() -> None:
    q, k, v = (random(1, 3, 5, 4, seed=seed) for seed in range(3))
    with (
        pytest.raises(UnsupportedModel, match="drops weights at random, though the model is in eval mode"),
        finding(lambda *_: v),
    ):
        functional.scaled_dot_product_attention(q, k, v, dropout_p=0.1)
