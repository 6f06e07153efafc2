"""From what a user gives to a model's inputs, and the names of its tokens."""

from typing import Any

import pytest
import torch

from architectures import ARCHITECTURES, build, example
from language_models import tokenizer
from ligflow import LigflowError, Pair, Words
from ligflow.explainer.encoding import encode_example, in_memory_of, name_sequence, name_tokens

BERT = build(ARCHITECTURES["bert"])  # takes 40 tokens
BART = build(ARCHITECTURES["bart"])


def encoded(inputs: Any, model: Any = BERT, decodes: bool = False, truncate: bool = False) -> Any:
    return encode_example(model, tokenizer(), decodes, inputs, truncate)


def test_a_text_is_its_ids_and_the_names_of_its_tokens() -> None:
    text = encoded("the cat sat")
    assert text.inputs["input_ids"].tolist() == [[1, 2, 3]]
    assert text.tokens.labels == ("the", "cat", "sat")
    assert text.text == "the cat sat"
    assert encoded(Words.joined(["the", "cat"])).inputs["input_ids"].tolist() == [[1, 2]]
    pair = encoded(Pair("the cat", "a mat"), BART, decodes=True)
    assert pair.inputs["input_ids"].tolist() == [[1, 2]]
    assert pair.inputs["decoder_input_ids"].tolist()[0][-2:] == [5, 6]


def test_tensors_stay_what_they_are_and_have_no_text() -> None:
    inputs = {"input_ids": torch.tensor([[4, 5]])}
    tensors = encoded(inputs)
    assert tensors.inputs["input_ids"] is inputs["input_ids"]
    assert (tensors.tokens, tensors.text) == (None, None)


def test_a_text_that_is_too_long_is_cut_only_when_asked() -> None:
    with pytest.raises(LigflowError, match="41 tokens"):
        encoded("cat " * 41)
    assert encoded("cat " * 41, truncate=True).inputs["input_ids"].shape == (1, 40)


def test_truncate_is_true_or_false() -> None:
    with pytest.raises(LigflowError, match="truncate is 'no'; give True or False"):
        encoded("the cat", truncate="no")  # type: ignore[arg-type]


def test_a_decoder_needs_tokens_of_its_own() -> None:
    ids = torch.tensor([[4, 5]])
    with pytest.raises(LigflowError, match="decoder_input_ids"):
        encoded({"input_ids": ids}, BART, decodes=True)
    both = {"input_ids": ids, "decoder_input_ids": ids}
    assert encoded(both, BART, decodes=True).inputs == both


@pytest.mark.parametrize("inputs", [5, None, ["a", "b"], [torch.ones(2)]])
def test_what_is_no_example_is_refused(inputs: Any) -> None:
    with pytest.raises(LigflowError):
        encoded(inputs)


def test_a_chat_without_a_template_is_refused() -> None:
    with pytest.raises(LigflowError, match="template"):
        encoded([{"role": "user", "content": "the cat"}])


def test_inputs_are_clones_in_the_type_of_the_integrals() -> None:
    half = build(ARCHITECTURES["bert"]).half()
    with torch.inference_mode():
        inputs = {"inputs_embeds": torch.ones(1, 2, 32).half(), "input_ids": torch.tensor([[3]])}
    placed = in_memory_of(half, torch.device("cpu"), inputs)
    assert placed["inputs_embeds"].dtype == torch.float32
    assert placed["input_ids"].dtype == torch.int64
    assert not any(tensor.is_inference() for tensor in placed.values())


def test_names_follow_from_what_the_inputs_hold() -> None:
    ids = {"input_ids": torch.tensor([[1, 2, 6]])}
    assert name_tokens(BERT.config, tokenizer(), ids, 3).labels == ("the", "cat", "mat")
    assert name_sequence(BERT.config, tokenizer(), ids, 3).labels == ("the", "cat", "mat")
    parts = ("0:0", "0:1", "0:2", "1:0", "1:1", "1:2")
    assert name_tokens(BERT.config, tokenizer(), ids, 6, parts=2).labels == parts
    image = example(ARCHITECTURES["vit"])
    labels = name_tokens(build(ARCHITECTURES["vit"]).config, None, image, 5).labels
    assert labels[1:] == ("r0c0", "r0c1", "r1c0", "r1c1")
