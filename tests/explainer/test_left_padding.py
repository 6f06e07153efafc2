"""Rows of a batch that is padded on the left: each has the numbers of its text alone."""

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import GPT2LMHeadModel, LlamaForCausalLM, PreTrainedModel

from architectures import ARCHITECTURES
from asked_models import stirred
from language_models import tokenizer
from ligflow import Explainer

pytestmark = pytest.mark.usefixtures("no_shape_checks")
TEXTS = ("the cat sat on a mat", "the cat", "cat sat on")
KINDS = {"gpt2": GPT2LMHeadModel, "llama": LlamaForCausalLM}


def padding_tokenizer() -> Any:
    """One token a word; shorter texts are filled up at their beginning."""
    words = tokenizer()
    words.pad_token, words.padding_side = "[UNK]", "left"
    return words


def model_of(name: str) -> PreTrainedModel:
    kind = KINDS[name]
    model: PreTrainedModel = stirred(kind, kind.config_class(**ARCHITECTURES[name].config))
    return model


def rows_of(words: Any) -> list[dict[str, Tensor]]:
    """Each text as a row of the batch, with the positions that generation counts behind the padding."""
    batch = words(list(TEXTS), padding=True, return_tensors="pt")
    mask = batch["attention_mask"]
    assert mask[:, 0].tolist() == [1, 0, 0]
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    every = {"input_ids": batch["input_ids"], "attention_mask": mask, "position_ids": positions}
    return [{key: value[row : row + 1] for key, value in every.items()} for row in range(len(TEXTS))]


@pytest.mark.parametrize("name", KINDS)
def test_maps_are_those_of_the_text_alone(name: str) -> None:
    words = padding_tokenizer()
    explainer = Explainer(model_of(name), words)
    rows = rows_of(words)
    together = list(explainer.explain_many(rows))
    for row, text, batched in zip(rows, TEXTS, together, strict=True):
        alone, padded = explainer.explain(text), explainer.explain(row)
        for flow in (padded, batched):
            assert flow.tokens == alone.tokens == text.split()
            for route in ("z2u", "u2z", "z2z"):
                torch.testing.assert_close(
                    flow.tensors[route], alone.tensors[route], rtol=1e-6, atol=1e-9, msg=route
                )


@pytest.mark.parametrize("name", KINDS)
def test_predictions_are_those_of_the_text_alone(name: str) -> None:
    words = padding_tokenizer()
    explainer = Explainer(model_of(name), words)
    for row, text in zip(rows_of(words), TEXTS, strict=True):
        alone = explainer.explain_prediction(text, answer="mat")
        padded = explainer.explain_prediction(row, answer="mat")
        assert padded.tokens == alone.tokens == text.split()
        assert padded.value == pytest.approx(alone.value, rel=1e-9)
        torch.testing.assert_close(padded.relevance, alone.relevance, rtol=1e-6, atol=1e-9)
        for layer in alone.heads:
            torch.testing.assert_close(padded.heads[layer], alone.heads[layer], rtol=1e-6, atol=1e-9)
            torch.testing.assert_close(padded.mlps[layer], alone.mlps[layer], rtol=1e-6, atol=1e-9)
