"""Why two texts are similar: values beside the model's own, each side beside integrated gradients."""

import pytest
import torch
from numpy.polynomial.legendre import leggauss

from asked_models import bert_base, gpt2
from ligflow import Explainer, LigflowError, Passages
from ligflow.prediction.similarity import explain_similarity

TEXT, OTHER = "the cat sat", "a dog ran on"


def vector(text: str) -> torch.Tensor:
    with torch.no_grad():
        return (
            bert_base().model(**bert_base().tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(0)
        )


def test_each_side_sums_to_its_own_change() -> None:
    found = explain_similarity(bert_base(), TEXT, OTHER, points=15)
    assert found.value == pytest.approx(float(torch.cosine_similarity(vector(TEXT), vector(OTHER), 0)))
    masked = float(torch.cosine_similarity(vector("[MASK] [MASK] [MASK]"), vector(OTHER), 0))
    assert found.text.reference_value == pytest.approx(masked)
    assert float(found.text.relevance.sum()) == pytest.approx(found.value - masked)
    assert found.text.tokens == ["[CLS]", "the", "cat", "sat", "[SEP]"]
    assert found.other.tokens == ["[CLS]", "a", "dog", "ran", "on", "[SEP]"]
    assert found.other.value == pytest.approx(found.value)
    assert float(found.other.relevance.sum()) == pytest.approx(found.other.change)
    assert f"{found.value:.4g}" in repr(found)
    assert found.text.meta["question"] == f"similarity to {OTHER!r}"


def test_the_whole_model_as_one_segment_is_integrated_gradients() -> None:
    found = explain_similarity(bert_base(), TEXT, OTHER, cut="model", points=31)
    model = bert_base().model
    ids, masks = (torch.tensor([[2, *inner, 3]]) for inner in ([5, 6, 7], [4, 4, 4]))
    table = model.get_input_embeddings().weight.detach()
    real, start, fixed = table[ids], table[masks], vector(OTHER)
    nodes, weights = (torch.tensor(each) for each in leggauss(60))
    total = torch.zeros_like(real)
    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        at = (start + node * (real - start)).requires_grad_()
        pooled = model(inputs_embeds=at).last_hidden_state[0].mean(0)
        total += weight * torch.autograd.grad(torch.cosine_similarity(pooled, fixed, 0), at)[0]
    torch.testing.assert_close(
        found.text.relevance, (total * (real - start))[0].sum(-1), atol=1e-6, rtol=1e-5
    )


@pytest.mark.parametrize(("pooling", "place"), [("first", 0), ("last", -1)])
def test_other_poolings(pooling: str, place: int) -> None:
    found = explain_similarity(bert_base(), TEXT, OTHER, pooling=pooling, points=3, tol=0.9)
    with torch.no_grad():
        states = [
            bert_base().model(**bert_base().tokenizer(text, return_tensors="pt")).last_hidden_state[0, place]
            for text in (TEXT, OTHER)
        ]
    assert found.value == pytest.approx(float(torch.cosine_similarity(*states, 0)))


def test_what_is_refused() -> None:
    with pytest.raises(LigflowError, match="Unknown pooling 'max'; choose from mean, first, last"):
        explain_similarity(bert_base(), TEXT, OTHER, pooling="max")
    with pytest.raises(LigflowError, match="against one reference, and this is several"):
        explain_similarity(bert_base(), TEXT, OTHER, pairs=True, reference="random")
    with pytest.raises(LigflowError, match="load it without its head"):
        explain_similarity(gpt2(), "The river", "The capital")


def test_passages_and_what_is_neither_true_nor_false_are_refused() -> None:
    passages = Passages("Who wrote it?", ["Anna wrote it."])
    for texts in ((passages, TEXT), (TEXT, passages)):
        with pytest.raises(
            LigflowError, match=r"similarity is that of two texts; pass texts, .*'Who wrote it\?'"
        ):
            explain_similarity(bert_base(), *texts)
    for option in ({"pairs": "no"}, {"truncate": 1}):
        (name, value) = next(iter(option.items()))
        with pytest.raises(LigflowError, match=rf"{name} is {value!r}; give True or False"):
            explain_similarity(bert_base(), TEXT, OTHER, **option)


def test_an_explainer_is_asked_for_similarity() -> None:
    found = Explainer(bert_base().model, bert_base().tokenizer).explain_similarity(
        TEXT, OTHER, points=7, tol=0.9
    )
    assert found.value == pytest.approx(float(torch.cosine_similarity(vector(TEXT), vector(OTHER), 0)))
