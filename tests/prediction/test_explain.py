"""Explanations end to end: arguments act in each mode or are refused; hostile inputs get one clear line."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from asked_models import bert_classes, gpt2, llama, t5
from ligflow import CompletenessWarning, Explainer, LigflowError, Prediction
from ligflow.explainer.prepared_model import PreparedModel
from ligflow.prediction.explain import explain_prediction
from ligflow.prediction.references import Random

PROMPT = "The capital of France is"
QUICK: dict[str, Any] = {"points": 7, "tol": 0.9}


@pytest.mark.parametrize("cut", ["modules", "layer", "model"])
def test_held_attention_acts_under_every_cut(cut: str) -> None:
    moved, held = (
        explain_prediction(gpt2(), PROMPT, cut=cut, attention=attention, points=15)
        for attention in ("moved", "held")
    )
    assert held.value == moved.value
    assert held.reference_value != pytest.approx(moved.reference_value, abs=1e-3)
    assert float(held.relevance.sum()) == pytest.approx(held.change, abs=1e-5)
    with pytest.raises(LigflowError, match="No layer of this model chooses experts"):
        explain_prediction(gpt2(), PROMPT, cut=cut, experts="held")


def test_a_looser_tolerance_takes_fewer_points_and_a_missed_one_warns() -> None:
    loose, strict = (explain_prediction(llama(), PROMPT, tol=tol) for tol in (1e-2, 1e-6))
    assert sum(each.points for each in loose.certificates) < sum(each.points for each in strict.certificates)
    assert float(strict.error.sum()) <= 1e-6 * strict.scale
    with pytest.warns(CompletenessWarning, match="more than the tolerance 1.0e-06"):
        few = explain_prediction(llama(), PROMPT, tol=1e-6, max_points=7)
    assert {each.points for each in few.certificates} <= {1, 3, 7}
    assert few.unmet
    assert all(each.error > each.allowance for each in few.unmet)


def test_several_references_are_a_mean_that_warns_as_one_does() -> None:
    mean = explain_prediction(gpt2(), PROMPT, reference=Random(count=2), **QUICK)
    assert mean.change == pytest.approx(sum(mean.meta["totals"]) / 2)
    with pytest.warns(CompletenessWarning):
        explain_prediction(gpt2(), PROMPT, reference=Random(count=2), points=3, tol=1e-9)


@pytest.mark.parametrize(
    "options",
    [{"position": 1, "on": 4}, {"position": 0}, {"position": 2, "on": (3, 4), "cut": "model"}],
    ids=str,
)
def test_what_cannot_reach_the_answer_is_no_explanation_of_zeros(options: dict[str, Any]) -> None:
    with pytest.raises(LigflowError, match=r"with the reference too, .* behind the position that is read"):
        explain_prediction(gpt2(), PROMPT, **options)
    with pytest.raises(LigflowError, match="behind the position that is read"):
        next(Explainer(gpt2().model, gpt2().tokenizer).explain_predictions([PROMPT], **options))


def test_a_function_of_several_numbers_is_refused() -> None:
    explainer = Explainer(gpt2().model, gpt2().tokenizer)
    both = {"score": lambda outputs: outputs.logits[:, -1, :2]}
    with pytest.raises(
        LigflowError, match="score gives 2 numbers for each point, and an explanation is of one"
    ):
        explainer.explain_prediction(PROMPT, **both)
    with pytest.raises(LigflowError, match="score gives 2 numbers"):
        next(explainer.explain_predictions([PROMPT], **both))


def test_a_layer_that_there_is_not_is_refused() -> None:
    with pytest.raises(LigflowError, match="no layer 2; the model has layers 0 to 1"):
        explain_prediction(gpt2(), PROMPT, edges=[2])


def test_a_text_is_cut_where_it_may_be() -> None:
    cut = explain_prediction(gpt2(), "The river is " * 60, truncate=True, **QUICK)
    assert len(cut.tokens) == 48
    with pytest.raises(LigflowError, match="the model takes 48"):
        explain_prediction(gpt2(), "The river is " * 60)


def test_ids_that_no_token_has_are_refused_by_number() -> None:
    for number in (-1, 99999):
        with pytest.raises(LigflowError, match=f"looks up row {number} of"):
            explain_prediction(gpt2(), {"input_ids": torch.tensor([[5, number]])})
        with pytest.raises(
            LigflowError, match=f"The reference has token {number}, and the model .* 0 to 298"
        ):
            explain_prediction(
                gpt2(), {"input_ids": torch.tensor([[5, 6]])}, reference=torch.tensor([5, number])
            )


def test_inputs_of_an_encoder_decoder_that_are_no_tensors_are_refused() -> None:
    ids: Any = [[5, 6]]
    with pytest.raises(LigflowError, match="'input_ids' is list; pass tensors"):
        explain_prediction(t5(), {"input_ids": ids})


@pytest.mark.parametrize("checkpointing", [{}, {"use_reentrant": True}, {"use_reentrant": False}], ids=str)
@pytest.mark.parametrize("whole", [gpt2, llama])
def test_a_model_in_training_is_explained_as_it_predicts(
    whole: Callable[[], PreparedModel], checkpointing: dict[str, bool]
) -> None:
    """With dropout, and with layers that forget what is in them and compute it again for gradients."""
    model = copy.deepcopy(whole().model)
    for part in model.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.5
    if checkpointing:
        model.gradient_checkpointing_enable(checkpointing)
        assert model.is_gradient_checkpointing
    noisy = Explainer(model.train(), whole().tokenizer).explain_prediction(PROMPT, **QUICK)
    quiet = explain_prediction(whole(), PROMPT, **QUICK)
    torch.testing.assert_close(noisy.relevance, quiet.relevance)  # to rounding
    torch.testing.assert_close(noisy.heads, quiet.heads)
    assert model.training
    assert model.is_gradient_checkpointing == bool(checkpointing)


def test_a_half_precision_model_runs_in_float32() -> None:
    model = copy.deepcopy(gpt2().model).bfloat16()
    explainer = Explainer(model, gpt2().tokenizer)
    half, single = (
        explainer.explain_prediction(PROMPT, **QUICK),
        Explainer(copy.deepcopy(model).float(), gpt2().tokenizer).explain_prediction(PROMPT, **QUICK),
    )
    assert half.meta["dtype"] == "float32"
    assert torch.equal(half.relevance, single.relevance)


def test_damaged_weights_are_named() -> None:
    model = copy.deepcopy(bert_classes().model)
    with torch.no_grad():
        model.classifier.weight[0, 0] = torch.nan
    with pytest.raises(LigflowError, match=r"weights of 'classifier.weight' hold NaN"):
        Explainer(model, bert_classes().tokenizer).explain_prediction("the cat sat")


def test_labels_of_an_explanation_are_those_of_the_question_and_the_reference() -> None:
    found: Prediction = explain_prediction(gpt2(), PROMPT, " Rome", **QUICK)
    assert (found.tokens, found.special) == (["The", " capital", " of", " France", " is"], (False,) * 5)
    assert found.kept == (True, False, False, False, False)
    with torch.no_grad():
        logits = gpt2().model(**gpt2().tokenizer(PROMPT, return_tensors="pt")).logits[0, -1].softmax(-1)
    assert found.top[0][1] == pytest.approx(float(logits.max()))
    assert found.top != found.reference_top
    settings = found.meta["settings"]
    assert (settings["answer"], settings["tol"], settings["points"]) == (" Rome", 0.9, 7)
