"""Vectors inside layers as runs of the model leave them, beside those that segments compute."""

from collections.abc import Callable

import pytest
import torch
from transformers import BertConfig, BertForMaskedLM, Gemma2Config, Gemma2ForCausalLM, PreTrainedModel

from ligflow import Explainer, Prediction
from ligflow.prediction import graph
from ligflow.prediction.cuts import Call
from ligflow.prediction.inner_states import InnerStates
from ligflow.prediction.layer_form import Site
from ligflow.prediction.two_runs import LayerRun
from prediction.tiny import gpt2, ids, llama, strong


def _gemma() -> PreTrainedModel:
    """Norms behind its branches."""
    torch.manual_seed(0)
    config = Gemma2Config(
        vocab_size=61, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=4, pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    return strong(Gemma2ForCausalLM(config), 1.5)


def _bert() -> PreTrainedModel:
    """Norms behind its sums."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=61, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=32,
    )  # fmt: skip
    return strong(BertForMaskedLM(config))


def _asked(explainer: Explainer, count: int = 5) -> Prediction:
    reference = torch.full((count,), 2)
    return explainer.explain_prediction(
        {"input_ids": ids(count)}, answer=7, reference=reference, position=count - 1, edges=()
    )


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each layer that is taken apart, whether its segments had given what it gave before."""
    is_known, answers = graph.is_known, list[bool]()

    def noted(call: Call) -> bool:
        answers.append(is_known(call))
        return answers[-1]

    monkeypatch.setattr(graph, "is_known", noted)
    return answers


@pytest.mark.parametrize("make", [llama, gpt2, _gemma, _bert])
def test_states_of_the_runs_are_those_that_segments_give(
    make: Callable[[], PreTrainedModel], known: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    explainer = Explainer(make())
    first, second = _asked(explainer), _asked(explainer)
    assert known == [False, False, True, True]
    assert torch.equal(second.by_depth, first.by_depth)
    assert all(torch.equal(second.heads[layer], first.heads[layer]) for layer in first.heads)
    monkeypatch.setattr(graph, "inner_of", lambda *_: None)
    computed = _asked(explainer)
    torch.testing.assert_close(second.by_depth, computed.by_depth, atol=1e-11, rtol=1e-9)
    torch.testing.assert_close(second.heads, computed.heads, atol=1e-11, rtol=1e-9)
    torch.testing.assert_close(second.mlps, computed.mlps, atol=1e-11, rtol=1e-9)


def test_states_that_are_not_the_segments_are_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    inner_of = graph.inner_of

    def off(call: Call, real: LayerRun, reference: LayerRun) -> object:
        inner = inner_of(call, real, reference)
        assert inner is not None
        return {name: (ours + 1, theirs) for name, (ours, theirs) in inner.items()}

    first = _asked(Explainer(llama()))
    monkeypatch.setattr(graph, "inner_of", off)
    explainer = Explainer(llama())
    for _ in range(2):
        torch.testing.assert_close(_asked(explainer).by_depth, first.by_depth, atol=1e-11, rtol=1e-9)


def test_changed_weights_and_more_tokens_are_looked_at_again(known: list[bool]) -> None:
    model = gpt2()
    explainer = Explainer(model)
    _asked(explainer)
    with torch.no_grad():
        model.transformer.h[1].attn.c_proj.bias += 0.3  # by which the layer goes on from other hidden states
    changed = _asked(explainer)
    torch.testing.assert_close(changed.relevance, _asked(Explainer(model)).relevance, atol=1e-11, rtol=1e-9)
    assert known[:4] == [False, False, True, False]
    known.clear()
    _asked(explainer, 8)
    _asked(explainer, 8)
    assert known == [False, False, True, True]


def test_vectors_that_the_model_has_changed_in_place_are_gone() -> None:
    module, vectors = torch.nn.Identity(), torch.ones(1, 3, 4)
    states, site = InnerStates(), Site(torch.nn.Identity(), "input")
    states.sites[site] = vectors, vectors._version
    assert states.at(site, 3) is not None
    assert states.at(Site(module, "input"), 3) is None
    vectors += 1
    assert states.at(site, 3) is None
