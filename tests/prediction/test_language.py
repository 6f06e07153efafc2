"""Questions to models that write or fill in text: which positions, which tokens, which numbers."""

from typing import Any

import pytest
import torch
from torch import Tensor

from asked_models import bert_masked, gpt2, llama, t5
from ligflow import LigflowError, Pair
from ligflow.explainer.prepared_model import PreparedModel
from ligflow.prediction.own_run import own_run
from ligflow.prediction.question import Question
from ligflow.prediction.targets import question, top_of

PROMPT = "The capital of France is"
CHAT = [{"role": "user", "content": "The capital of Italy is"}]


def logits_of(whole: PreparedModel, ids: list[int], **more: Any) -> Tensor:
    """The model's own logits, one token a row, without any code of ours."""
    with torch.no_grad():
        return whole.model(input_ids=torch.tensor([ids]), **more).logits[0]


def score_of(whole: PreparedModel, asked: Question) -> Tensor:
    return asked.score(own_run(whole, asked.inputs, asked.positions).outputs)


@pytest.mark.parametrize("model", [gpt2, llama])
def test_a_decoder_is_asked_for_its_own_next_token(model: Any) -> None:
    whole = model()
    asked = question(whole, PROMPT)
    ids = whole.tokenizer(PROMPT)["input_ids"]
    shares = logits_of(whole, ids)[-1].softmax(-1)
    best = int(shares.argmax())
    assert asked.inputs["input_ids"].tolist() == [ids]
    assert asked.tokens.labels == ("The", " capital", " of", " France", " is")
    assert asked.positions == (4,)
    assert asked.taught == (False,) * 5
    torch.testing.assert_close(score_of(whole, asked), shares.log()[None, best : best + 1])
    top = top_of(asked, own_run(whole, asked.inputs, asked.positions).outputs, 3)
    assert [share for _, share in top] == pytest.approx(shares.topk(3).values.tolist())
    assert top[0][0] == asked.rows[0] == whole.tokenizer.decode([best])


def test_an_answer_of_several_tokens_is_taught_but_for_its_last() -> None:
    whole, answer = gpt2(), " Paris. The"
    asked = question(whole, PROMPT, answer=answer)
    ids = whole.tokenizer(PROMPT + answer)["input_ids"]
    extra = len(ids) - 5
    assert extra > 1
    assert asked.inputs["input_ids"].tolist() == [ids[:-1]]
    assert asked.inputs["attention_mask"].shape == asked.inputs["input_ids"].shape
    assert asked.positions == tuple(range(4, 4 + extra))
    assert asked.taught == (False,) * 5 + (True,) * (extra - 1)
    assert asked.tokens.labels[5] == " Paris"
    assert asked.rows == (answer,)
    shares = logits_of(whole, ids).log_softmax(-1)
    wanted = sum(shares[4 + number, ids[5 + number]] for number in range(extra))
    torch.testing.assert_close(score_of(whole, asked)[0, 0], wanted)


def test_logits_and_contrasts() -> None:
    whole = gpt2()
    paris, rome = (whole.tokenizer(text)["input_ids"][0] for text in (" Paris", " Rome"))
    own = logits_of(whole, whole.tokenizer(PROMPT)["input_ids"])[-1]
    logit = question(whole, PROMPT, answer=" Paris", score="logit")
    torch.testing.assert_close(score_of(whole, logit), own[None, paris : paris + 1])
    between = question(whole, PROMPT, answer=" Paris", contrast=" Rome")
    torch.testing.assert_close(score_of(whole, between)[0, 0], own[paris] - own[rome])
    assert between.rows == (" Paris rather than Rome",)


def test_a_contrast_that_differs_in_the_last_token_is_read_behind_the_shared_ones() -> None:
    whole = gpt2()
    asked = question(whole, "The river", answer=" is Paris", contrast=" is Rome")
    ids = whole.tokenizer("The river is")["input_ids"]
    own = logits_of(whole, ids)[-1]
    paris, rome = (whole.tokenizer(text)["input_ids"][0] for text in (" Paris", " Rome"))
    assert asked.inputs["input_ids"].tolist() == [ids]
    assert asked.taught[-1]
    assert not asked.taught[-2]
    torch.testing.assert_close(score_of(whole, asked)[0, 0], own[paris] - own[rome])
    top = top_of(asked, own_run(whole, asked.inputs, asked.positions).outputs, 1)
    assert top[0][1] == pytest.approx(float(own.softmax(-1).max()))


def test_a_position_is_the_token_behind_which_the_answer_stands() -> None:
    whole = gpt2()
    asked = question(whole, PROMPT, answer=" France", position=" of")
    ids = whole.tokenizer(PROMPT)["input_ids"]
    shares = logits_of(whole, ids).log_softmax(-1)
    assert asked.positions == (2,)
    torch.testing.assert_close(score_of(whole, asked)[0, 0], shares[2, ids[3]])
    assert question(whole, PROMPT, position=-1).positions == (4,)


def test_an_answer_is_a_token_by_its_number_too() -> None:
    whole = gpt2()
    number = whole.tokenizer(" Rome")["input_ids"][0]
    asked = question(whole, PROMPT, answer=number)
    assert asked.rows == (" Rome",)
    same = question(whole, PROMPT, answer=" Rome")
    assert torch.equal(score_of(whole, asked), score_of(whole, same))


def test_an_answer_without_a_blank_is_pointed_out() -> None:
    asked = question(gpt2(), PROMPT, answer="Paris")
    assert any("'Paris' begins without a blank" in note and "' Paris'" in note for note in asked.notes)
    assert not question(gpt2(), PROMPT, answer=" Paris").notes
    assert question(gpt2(), f"{PROMPT} ", answer="Paris").notes == (
        "the text ends with a blank; most tokenizers have it in front of the next word, so leave it out",
    )
    assert not question(gpt2(), CHAT, answer="Paris").notes


def test_a_chat_ends_where_the_answer_begins() -> None:
    whole = llama()
    asked = question(whole, CHAT, answer="Rome")
    text = "<|im_start|>user\nThe capital of Italy is<|im_end|>\n<|im_start|>assistant\n"
    ids = whole.tokenizer(text)["input_ids"]
    answer = whole.tokenizer("Rome")["input_ids"]
    assert asked.inputs["input_ids"].tolist() == [[*ids, *answer[:-1]]]
    assert asked.positions is not None
    assert asked.positions[0] == len(ids) - 1
    shown = [token for token, mark in zip(asked.tokens.labels, asked.special, strict=True) if not mark]
    assert shown[: len(shown) - len(answer) + 1] == ["The", " capital", " of", " Italy", " is"]
    assert [role for role, _ in asked.tokens.turns] == ["user"]


def test_padding_changes_nothing() -> None:
    whole = gpt2()
    ids = whole.tokenizer(PROMPT)["input_ids"]
    padded = {
        "input_ids": torch.tensor([[0, 0, *ids]]),
        "attention_mask": torch.tensor([[0, 0, *[1] * len(ids)]]),
    }
    asked = question(whole, padded, answer=" Paris")
    assert asked.tokens.labels == ("The", " capital", " of", " France", " is")
    assert torch.equal(score_of(whole, asked), score_of(whole, question(whole, PROMPT, answer=" Paris")))
    assert any("padding" in note for note in asked.notes)


def test_a_masked_token_is_filled_in() -> None:
    whole = bert_masked()
    asked = question(whole, "the cat [MASK] on", answer="sat")
    ids = whole.tokenizer("the cat [MASK] on")["input_ids"]
    shares = logits_of(whole, ids)[3].log_softmax(-1)
    assert asked.positions == (3,)
    assert asked.asked == tuple(place == 3 for place in range(6))
    torch.testing.assert_close(score_of(whole, asked)[0, 0], shares[7])
    own = question(whole, "the cat [MASK] on")
    torch.testing.assert_close(score_of(whole, own)[0, 0], shares.max())
    between = question(whole, "the cat [MASK] on", answer="sat", contrast="ran")
    torch.testing.assert_close(score_of(whole, between)[0, 0], shares[7] - shares[12])


def test_several_masks_and_a_word_that_the_model_reads_itself() -> None:
    whole = bert_masked()
    asked = question(whole, "the [MASK] [MASK]", answer="cat sat")
    shares = logits_of(whole, whole.tokenizer("the [MASK] [MASK]")["input_ids"]).log_softmax(-1)
    torch.testing.assert_close(score_of(whole, asked)[0, 0], shares[2, 6] + shares[3, 7])
    plain = question(whole, "the cat sat", answer="dog", position=2)
    assert any("reads 'cat' at position 2 itself" in note for note in plain.notes)


def test_an_encoder_decoder_writes_behind_its_start_token() -> None:
    whole = t5()
    asked = question(whole, "das ist gut")
    source = whole.tokenizer("das ist gut")["input_ids"]
    assert asked.inputs["input_ids"].tolist() == [source]
    assert asked.inputs["decoder_input_ids"].tolist() == [[0]]
    assert asked.decoder_tokens is not None
    assert asked.decoder_tokens.labels == ("<pad>",)
    shares = logits_of(whole, source, decoder_input_ids=torch.tensor([[0]])).log_softmax(-1)
    torch.testing.assert_close(score_of(whole, asked)[0, 0], shares[0].max())


def test_an_encoder_decoder_is_taught_an_answer_and_takes_what_is_written() -> None:
    whole = t5()
    asked = question(whole, "das ist gut", answer="this is good")
    source = whole.tokenizer("das ist gut")["input_ids"]
    assert asked.inputs["decoder_input_ids"].tolist() == [[0, 6, 7]]
    assert asked.positions == (0, 1, 2)
    assert asked.taught == (False,) * 5 + (True, True)
    shares = logits_of(whole, source, decoder_input_ids=torch.tensor([[0, 6, 7]])).log_softmax(-1)
    torch.testing.assert_close(score_of(whole, asked)[0, 0], shares[0, 6] + shares[1, 7] + shares[2, 8])
    written = question(whole, Pair("das ist gut", "this is"), answer="good")
    assert written.inputs["decoder_input_ids"].tolist() == [[0, 6, 7]]
    assert written.taught == (False,) * 7
    torch.testing.assert_close(score_of(whole, written)[0, 0], shares[2, 8])


@pytest.mark.parametrize(
    ("inputs", "wish", "message"),
    [
        (PROMPT, {"answer": ""}, "The answer is ''; give a text"),
        (PROMPT, {"answer": 10**6}, "There is no token 1000000: the vocabulary has"),
        (PROMPT, {"answer": " Paris", "contrast": " Paris"}, "contrast is the answer itself .' Paris'"),
        (
            PROMPT,
            {"answer": " Paris", "contrast": " Paris is"},
            "answer has 1 tokens and the contrast 2 .*' Paris| is'",
        ),
        (PROMPT, {"answer": " Paris", "contrast": ""}, "^The contrast is ''; give a text"),
        (PROMPT, {"answer": "", "contrast": " Rome"}, "^The answer is ''; give a text"),
        (PROMPT, {"answer": " is Paris", "contrast": " of Paris"}, "differ before their last token"),
        (PROMPT, {"position": 5}, "There is no position 5: there are 5, numbered 0 to 4"),
        (PROMPT, {"position": 1, "answer": " Paris is"}, "at position 1 ask about an answer of one token"),
        (PROMPT, {"score": "loss"}, "score is 'loss'; choose from logprob, logit"),
        (" river" * 60, {"answer": " Paris is", "truncate": True}, "are 49 tokens, and the model takes 48"),
        (Pair("a", "b"), {}, "A pair of texts is for an encoder-decoder"),
    ],
)
def test_a_decoder_refuses(inputs: Any, wish: dict[str, Any], message: str) -> None:
    with pytest.raises(LigflowError, match=message):
        question(gpt2(), inputs, **wish)


@pytest.mark.parametrize(
    ("inputs", "wish", "message"),
    [
        ("the cat", {}, r"The text has no \[MASK\]"),
        ("the [MASK]", {"answer": "cat sat"}, r"'cat sat' has 2 tokens .*and 1 are to be"),
        ("the [MASK]", {"answer": "zebra"}, "'zebra' is not in this model's vocabulary"),
        ("the [MASK]", {"answer": "cat", "contrast": ""}, "^The contrast is ''; give a text"),
        ("the [MASK]", {"answer": "cat", "contrast": "cat"}, "contrast is the answer itself"),
    ],
)
def test_a_masked_model_refuses(inputs: str, wish: dict[str, Any], message: str) -> None:
    with pytest.raises(LigflowError, match=message):
        question(bert_masked(), inputs, **wish)
