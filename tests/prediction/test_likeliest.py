"""The likeliest outputs of a model, and the answers that ask about them."""

from typing import Any

import pytest
import torch

import asked_models
from ligflow import Explainer
from ligflow.errors import LigflowError
from ligflow.prediction.likeliest import likeliest


def test_the_likeliest_next_tokens_are_those_of_the_model_itself() -> None:
    whole, text = asked_models.gpt2(), "The capital of France is"
    ids = whole.tokenizer(text, return_tensors="pt")
    with torch.no_grad():
        shares = whole.model(**ids).logits[0, -1].softmax(-1)
    outputs = likeliest(whole, text)
    assert len(outputs) == 10
    assert [each.answer for each in outputs] == shares.topk(10).indices.tolist()
    assert [each.probability for each in outputs] == pytest.approx(shares.topk(10).values.tolist())
    earlier = likeliest(whole, text, count=1, position=1)
    with torch.no_grad():
        assert earlier[0].answer == int(whole.model(**ids).logits[0, 1].argmax())


@pytest.mark.parametrize(
    ("model", "inputs"),
    [(asked_models.bert_classes, "the cat sat"), (asked_models.bert_masked, "the [MASK] sat")],
)
def test_each_output_can_be_asked_about_by_its_answer(model: Any, inputs: str) -> None:
    whole = model()
    explainer = Explainer(whole.model, whole.tokenizer)
    outputs = likeliest(whole, inputs, count=3)
    assert len(outputs) == 3
    for output in outputs[:2]:
        prediction = explainer.explain_prediction(inputs, output.answer)
        assert prediction.value == pytest.approx(torch.tensor(output.probability).log().item(), abs=1e-6)
        assert prediction.meta["question"] == output.text


def test_several_masks_are_no_single_output() -> None:
    assert likeliest(asked_models.bert_masked(), "the [MASK] sat on [MASK]") == ()


def test_a_model_without_a_head_is_refused() -> None:
    with pytest.raises(LigflowError, match="no head"):
        likeliest(asked_models.bert_base(), "the cat sat")
