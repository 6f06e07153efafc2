"""Inputs behind which an answer may be written: what is lengthened, left out and refused."""

from typing import Any

import pytest
import torch
from tokenizers import processors
from transformers import ByT5Tokenizer, GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from asked_models import byte_tokenizer, gpt2, llama, stirred, whole
from ligflow import Explainer, LigflowError
from ligflow.prediction.explain import explain_prediction
from ligflow.prediction.own_run import own_run
from ligflow.prediction.prompt import text_prompt
from ligflow.prediction.targets import question

IDS = torch.tensor([[20, 30, 40]])


def test_what_is_of_tokens_grows_with_the_answer() -> None:
    inputs = {
        "input_ids": IDS,
        "attention_mask": torch.ones_like(IDS),
        "position_ids": torch.arange(3)[None] + 4,
    }
    longer = text_prompt(llama(), inputs, False).followed_by([50, 60], ["ca", "do"], None)
    assert longer.inputs["input_ids"].tolist() == [[20, 30, 40, 50, 60]]
    assert longer.inputs["attention_mask"].tolist() == [[1] * 5]
    assert longer.inputs["position_ids"].tolist() == [[4, 5, 6, 7, 8]]
    assert longer.tokens.special == (False,) * 5
    assert len(longer.tokens.labels) == 5
    with pytest.raises(LigflowError, match="are 5 tokens, and the model takes 4"):
        text_prompt(llama(), inputs, False).followed_by([50, 60], ["ca", "do"], 4)
    bias = inputs | {"token_type_ids": torch.zeros_like(IDS)} | {"cache_position": torch.arange(3)}
    assert "token_type_ids" not in text_prompt(llama(), bias, False).inputs  # which a Llama does not take


@pytest.mark.parametrize("mask", [[0, 0, 1, 1, 1], [1, 1, 1, 0, 0], [1, 0, 1, 0, 1]])
def test_padding_is_left_out_wherever_it_stands(mask: list[int]) -> None:
    ids = torch.zeros(1, 5, dtype=torch.long)
    ids[0, torch.tensor(mask).bool()] = IDS[0]
    padded = text_prompt(gpt2(), {"input_ids": ids, "attention_mask": torch.tensor([mask])}, False)
    assert padded.inputs["input_ids"].tolist() == IDS.tolist()
    assert padded.notes == ("the inputs' padding is left out",)


def closing() -> Any:
    """A tokenizer that ends every text with a token of its own."""
    made = byte_tokenizer().backend_tokenizer.__class__.from_str(byte_tokenizer().backend_tokenizer.to_str())
    made.post_processor = processors.TemplateProcessing("$A <|im_end|>", special_tokens=[("<|im_end|>", 2)])
    return PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<|im_end|>")


def test_a_tokenizer_s_closing_token_is_left_out_where_the_text_goes_on() -> None:
    prepared = whole(gpt2().model, closing())
    plain = byte_tokenizer()("The river is")["input_ids"]
    assert prepared.tokenizer("The river is")["input_ids"] == [*plain, 2]
    open_text, closed = (text_prompt(prepared, "The river is", False, closed=end) for end in (False, True))
    assert (open_text.ids, closed.ids) == (plain, [*plain, 2])
    assert any("own closing token is left out" in note for note in open_text.notes)
    asked = question(prepared, "The river is", answer=" long")
    with torch.no_grad():
        shares = gpt2().model(torch.tensor([plain])).logits[0, -1].log_softmax(-1)
    score = asked.score(own_run(prepared, asked.inputs, asked.positions).outputs)
    assert float(score) == pytest.approx(float(shares[byte_tokenizer()(" long")["input_ids"][0]]))


def test_a_tokenizer_without_a_fast_form() -> None:
    """It is Python alone, and does not say where its tokens lie; what is explained is the same as of ids."""
    words = ByT5Tokenizer(extra_ids=0)
    assert not words.is_fast
    config = GPT2Config(
        vocab_size=len(words), n_embd=16, n_layer=2, n_head=2, n_positions=48, bos_token_id=0, eos_token_id=1
    )
    model = stirred(GPT2LMHeadModel, config)
    prepared = whole(model, words)
    ids = words("the c\u00e1t sa", add_special_tokens=False, return_tensors="pt")["input_ids"]
    known = explain_prediction(prepared, "the c\u00e1t sa", "to", reference="the dog sat")
    assert known.tokens == [*"the c", "\u00e1 1/2", "\u00e1 2/2", *"t sat"]
    with torch.no_grad():
        logits = model(torch.cat([ids, torch.tensor([words("t")["input_ids"][:1]])], 1)).logits[0]
    shares = logits[-2:].log_softmax(-1)
    score = sum(float(row[words(letter)["input_ids"][0]]) for row, letter in zip(shares, "to", strict=True))
    assert known.value == pytest.approx(score)
    by_ids = explain_prediction(prepared, {"input_ids": ids}, "to", reference="the dog sat")
    torch.testing.assert_close(by_ids.relevance, known.relevance, rtol=1e-9, atol=1e-12)
    assert float(known.relevance.sum()) == pytest.approx(known.change, abs=1e-3 * known.scale)
    with pytest.raises(LigflowError, match="knows no 'words'"):
        known.by("words")
    assert Explainer(model, words).explain("the cat").tokens == [*"the cat", "</s>"]
