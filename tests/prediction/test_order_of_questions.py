"""What was asked before changes no answer: questions of a model in one order, in the other, and alone."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import AutoConfig, MixtralForCausalLM, PreTrainedModel

from ligflow import Explainer
from prediction.oracle_families import FAMILIES
from prediction.tiny import gpt2, ids, llama, strong

QUESTIONS: list[dict[str, Any]] = [
    {"attention": "held"},
    {},
    {"attention": "held", "cut": "layer"},
    {"cut": "layer"},
    {"points": 15},
]


def _mixtral() -> PreTrainedModel:
    torch.manual_seed(0)
    return strong(MixtralForCausalLM(AutoConfig.for_model("mixtral", **FAMILIES["mixtral"].config)))


@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.filterwarnings("ignore::ligflow.CompletenessWarning")
@pytest.mark.parametrize("make", [llama, gpt2, _mixtral])
def test_what_was_asked_before_changes_nothing(make: Callable[[], PreTrainedModel]) -> None:
    tokens = ids()
    questions = [*QUESTIONS, {"experts": "held"}] if make is _mixtral else QUESTIONS
    how: dict[str, Any] = {"answer": 7, "reference": torch.full((5,), 2), "on": [1, 2, 3, 4]}

    def relevance(explainer: Explainer, question: dict[str, Any]) -> torch.Tensor:
        return explainer.explain_prediction({"input_ids": tokens}, **(how | question)).relevance

    if make is _mixtral:
        tokens = tokens % 30
    forwards, backwards = Explainer(make()), Explainer(make())
    first = [relevance(forwards, question) for question in questions]
    second = [relevance(backwards, question) for question in reversed(questions)][::-1]
    for question, a, b in zip(questions, first, second, strict=True):
        alone = relevance(Explainer(make()), question)
        assert torch.allclose(a, alone, rtol=1e-9, atol=1e-10), question
        assert torch.allclose(b, alone, rtol=1e-9, atol=1e-10), question
