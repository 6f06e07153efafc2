"""References: which embeddings they are, what is kept and what is refused."""

from typing import Any

import pytest
import torch
from transformers import Gemma3ForCausalLM, Gemma3TextConfig, PreTrainedTokenizerFast

from asked_models import bert_classes, bert_masked, byte_tokenizer, gpt2, llama, stirred, t5, vit, whole
from ligflow import LigflowError
from ligflow.explainer.prepared_model import PreparedModel
from ligflow.prediction.own_run import own_run
from ligflow.prediction.question import Question
from ligflow.prediction.references import Random, Reference, reference
from ligflow.prediction.targets import question

PROMPT = "The capital of France is"
TEXT = "the cat sat"


def table(prepared: PreparedModel) -> torch.Tensor:
    return prepared.model.get_input_embeddings().weight.detach()


def one(prepared: PreparedModel, asked: Question, *arguments: Any, **options: Any) -> Reference:
    (found,) = reference(prepared, asked, *arguments, **options)
    return found


def number(prepared: PreparedModel, text: str) -> int:
    (found,) = prepared.tokenizer(text, add_special_tokens=False)["input_ids"]
    return int(found)


# --- neutral ---------------------------------------------------------------------------------------


def test_the_neutral_token_of_a_masked_model_is_its_mask_and_special_tokens_are_kept() -> None:
    prepared = bert_masked()
    found = one(prepared, question(prepared, "the [MASK] sat"))
    assert found.kept.tolist() == [True, False, True, False, True]
    ids = torch.tensor([2, 4, 4, 4, 3])
    assert torch.equal(found.embeddings[0], table(prepared)[ids])
    assert found.tokens == ("[CLS]", "[MASK]", "[MASK]", "[MASK]", "[SEP]")
    assert found.notes == ("the neutral reference is '[MASK]', the mask token",)


def test_where_the_unknown_token_ends_texts_a_blank_is_neutral_and_it_is_said() -> None:
    prepared = gpt2()
    found = one(prepared, question(prepared, PROMPT))
    blank = number(prepared, " ")
    assert torch.equal(found.embeddings[0, 1:], table(prepared)[[blank] * 4])
    assert found.notes[0] == (
        "the neutral reference is ' ', a blank (the unknown token is the token that ends a text too)"
    )


def test_a_decoders_first_token_is_kept_where_it_is_a_word_and_it_is_said() -> None:
    prepared = gpt2()
    asked = question(prepared, PROMPT)
    kept = one(prepared, asked)
    assert kept.kept.tolist() == [True, False, False, False, False]
    assert torch.equal(kept.embeddings[0, 0], table(prepared)[number(prepared, "The")])
    assert "first token ('The') is kept" in kept.notes[1]
    assert not one(prepared, asked, on=[0, 1]).kept[0]
    real = one(prepared, asked, torch.tensor([5, 6, 7, 8, 9]))
    assert not real.kept[0]
    assert "first token ('The') is replaced too" in real.notes[-1]
    assert not any("first token" in note for note in one(prepared, asked, "The capital of Italy is").notes)
    alone = question(prepared, "The")
    assert one(prepared, alone).kept.tolist() == [False]
    assert one(bert_classes(), question(bert_classes(), TEXT)).kept.tolist() == [
        True,
        False,
        False,
        False,
        True,
    ]
    assert one(t5(), question(t5(), "das ist gut")).kept.tolist()[:4] == [False, False, False, True]


def test_an_unknown_token_that_ends_documents_is_not_neutral() -> None:
    words = byte_tokenizer().backend_tokenizer
    chatty = PreTrainedTokenizerFast(
        tokenizer_object=words, unk_token="<|endoftext|>", bos_token="<|im_start|>", eos_token="<|im_end|>"
    )
    prepared = whole(gpt2().model, chatty)
    found = one(prepared, question(prepared, PROMPT))
    assert "(the unknown token is '<|endoftext|>', which ends texts)" in found.notes[0]


def test_a_token_whose_embedding_is_zero_is_never_neutral() -> None:
    model = stirred(type(bert_masked().model), bert_masked().model.config)
    prepared = whole(model, bert_masked().tokenizer)
    with torch.no_grad():
        table(prepared)[4] = 0
        found = one(prepared, question(prepared, "the [MASK] sat"))
    assert found.tokens is not None
    assert found.tokens[1] == "[UNK]"
    assert "the unknown token (the embedding of the mask token is zero)" in found.notes[0]


def test_without_a_neutral_token_others_are_named() -> None:
    words = bert_classes().tokenizer.backend_tokenizer
    ending = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]", eos_token="[UNK]")
    prepared = whole(bert_classes().model, ending)
    asked = question(prepared, TEXT)
    with pytest.raises(LigflowError, match=r'is neutral: .*Choose reference="mean"'):
        reference(prepared, asked)
    ids = {"input_ids": torch.tensor([[5, 6]])}
    bare = whole(bert_classes().model)
    with pytest.raises(LigflowError, match="token of the tokenizer, and there is none"):
        reference(bare, question(bare, ids))


def test_scaled_embeddings_are_the_models_own() -> None:
    config = Gemma3TextConfig(
        vocab_size=len(byte_tokenizer()), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, head_dim=8, intermediate_size=24,
    )  # fmt: skip
    prepared = whole(stirred(Gemma3ForCausalLM, config), byte_tokenizer())
    found = one(prepared, question(prepared, PROMPT))
    blank = table(prepared)[number(prepared, " ")]
    torch.testing.assert_close(found.embeddings[0, 2], blank * 4)


# --- which tokens ----------------------------------------------------------------------------------


def test_taught_tokens_and_a_chats_template_are_kept() -> None:
    prepared = llama()
    chat = [{"role": "user", "content": PROMPT}]
    asked = question(prepared, chat, answer=" Paris. The")
    found = one(prepared, asked)
    shown = [token for token, kept in zip(asked.tokens.labels, found.kept, strict=True) if not kept]
    assert shown == ["The", " capital", " of", " France", " is"]
    own = prepared.model.get_input_embeddings()(asked.inputs["input_ids"])
    assert torch.equal(found.embeddings[:, found.kept], own[:, found.kept])
    assert not torch.equal(found.embeddings, own)


@pytest.mark.parametrize(
    ("on", "free"),
    [
        (" capital of", [1, 2]),
        ("Fra", [3]),
        (3, [3]),
        ([-1, 0], [0, 4]),
        ((1, 3), [1, 2, 3]),
        (["The", (3, 4)], [0, 3, 4]),
    ],
)
def test_a_reference_on_spans(on: Any, free: list[int]) -> None:
    prepared = gpt2()
    found = one(prepared, question(prepared, PROMPT), on=on)
    assert (~found.kept).nonzero()[:, 0].tolist() == free


def test_special_tokens_are_replaced_where_they_are_named() -> None:
    prepared = bert_classes()
    assert one(prepared, question(prepared, TEXT), on=0).kept.tolist() == [False, *[True] * 4]


@pytest.mark.parametrize(
    ("on", "message"),
    [
        ("Spain", "'Spain' occurs not in the input"),
        ("a", "'a' occurs 3 times in the input; give a longer one"),
        (9, "There is no token 9"),
        ((3, 1), "ends before it begins"),
        ([], "on= names no token"),
        (" ", "on= is a blank text"),
        (5, "Every token is kept.*on= names the answer's tokens alone"),
    ],
)
def test_spans_that_are_none(on: Any, message: str) -> None:
    prepared = gpt2()
    with pytest.raises(LigflowError, match=message):
        reference(prepared, question(prepared, PROMPT, answer=" Paris is"), on=on)


# --- counterfactuals -------------------------------------------------------------------------------


def test_a_text_of_as_many_tokens() -> None:
    prepared = gpt2()
    asked = question(prepared, PROMPT, answer=" Paris. The")
    found = one(prepared, asked, "The capital of Italy is")
    assert found.name == "The capital of Italy is"
    assert (~found.kept).nonzero()[:, 0].tolist() == [3]  # the others are the same in both
    italy = table(prepared)[number(prepared, " Italy")]
    assert torch.equal(found.embeddings[0, 3], italy)
    assert found.tokens is not None
    assert found.tokens[3] == " Italy"


def test_a_text_in_the_place_of_a_span() -> None:
    prepared = gpt2()
    asked = question(prepared, PROMPT)
    for text in ("Italy", " Italy"):
        found = one(prepared, asked, text if text[0] == " " else " Italy", on="France")
        assert found.tokens == ("The", " capital", " of", " Italy", " is")
    prepared = bert_classes()
    assert one(prepared, question(prepared, TEXT), "dog", on="cat").tokens == (
        "[CLS]",
        "the",
        "dog",
        "sat",
        "[SEP]",
    )


def test_another_chat_of_as_many_tokens() -> None:
    prepared = llama()
    asked = question(prepared, [{"role": "user", "content": PROMPT}], answer=" Paris")
    found = one(prepared, asked, [{"role": "user", "content": "The capital of Italy is"}])
    place = asked.tokens.labels.index(" France")
    assert (~found.kept).nonzero()[:, 0].tolist() == [place]


def test_texts_of_other_lengths_are_shown_side_by_side() -> None:
    prepared = gpt2()
    asked = question(prepared, PROMPT)
    with pytest.raises(LigflowError) as raised:
        reference(prepared, asked, "The capital of Italy is long")
    lines = str(raised.value).splitlines()
    assert "The reference has 6 tokens and the input 5" in lines[0]
    assert lines[1].split() == ["input", "reference"]
    assert [line.split()[1:] for line in lines[2:]] == [
        ["capital", "capital"], ["of", "of"], ["France", "Italy"], ["is", "is"], ["long"],
    ]  # fmt: skip
    with pytest.raises(LigflowError, match="has 2 tokens and what it stands for 1"):
        reference(prepared, asked, " Italy is", on="France")


# --- other references ------------------------------------------------------------------------------


def test_random_tokens_are_several_references_of_one_seed() -> None:
    prepared = gpt2()
    asked = question(prepared, PROMPT)
    found = reference(prepared, asked, Random(count=3, seed=7, corpus=("The river is long", " Rome")))
    assert len(found) == 3
    again = reference(prepared, asked, Random(count=3, seed=7, corpus=("The river is long", " Rome")))
    assert all(torch.equal(a.embeddings, b.embeddings) for a, b in zip(found, again, strict=True))
    assert not torch.equal(found[0].embeddings, found[1].embeddings)
    words = {"The", " river", " is", " long", " Rome"}
    assert all(each.tokens is not None and {*each.tokens} <= words for each in found)
    assert "random tokens of 2 texts, drawn with seed 7" in found[0].notes
    assert len(reference(prepared, asked, "random")) == 5


def test_the_mean_embedding() -> None:
    prepared = gpt2()
    found = one(prepared, question(prepared, PROMPT), "mean")
    torch.testing.assert_close(found.embeddings[0, 1:], table(prepared).mean(0).expand(4, -1))
    assert any("takes more points" in note for note in found.notes)


@pytest.mark.parametrize("shape", [(16,), (5, 16), (1, 5, 16)])
def test_embeddings_as_a_tensor(shape: tuple[int, ...]) -> None:
    prepared = gpt2()
    asked = question(prepared, PROMPT, answer=" Paris is")
    vectors = torch.arange(float(torch.tensor(shape).prod())).reshape(shape)
    found = one(prepared, asked, vectors)
    first = int(len(shape) == 1)
    assert found.kept.tolist() == [bool(first), *[False] * 4, True]
    assert torch.equal(found.embeddings[0, first:5], vectors.double().expand(1, 5, 16)[0, first:])
    assert torch.equal(found.embeddings[0, 5], table(prepared)[number(prepared, " Paris")])


def test_ids_as_a_tensor() -> None:
    prepared = gpt2()
    asked = question(prepared, PROMPT)
    ids = torch.tensor(prepared.tokenizer("The capital of Italy is")["input_ids"])
    text = one(prepared, asked, "The capital of Italy is")
    assert torch.equal(one(prepared, asked, ids).embeddings, text.embeddings)


def test_an_images_reference_is_its_mean_pixel() -> None:
    prepared = vit()
    pixels = torch.randn(1, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    asked = question(prepared, {"pixel_values": pixels})
    found = one(prepared, asked, on="r0c1")
    assert found.kept.tolist() == [True, True, False, True, True]
    own, even = (
        own_run(prepared, {"pixel_values": each}, None).embeddings
        for each in (pixels, pixels.mean((2, 3), keepdim=True).expand_as(pixels).clone())
    )
    torch.testing.assert_close(found.embeddings[0, 1], even[0, 1])
    assert torch.equal(found.embeddings[0, [0, 2, 3]], own[0, [0, 2, 3]])
    other = one(prepared, asked, torch.zeros(3, 8, 8))
    black = own_run(prepared, {"pixel_values": torch.zeros_like(pixels)}, None).embeddings
    torch.testing.assert_close(other.embeddings, black)
    with pytest.raises(LigflowError, match="An image has no reference 'random'"):
        reference(prepared, asked, "random")
    with pytest.raises(LigflowError, match=r"or pixels \[1, 3, 8, 8\]"):
        reference(prepared, asked, torch.zeros(3, 9, 9))


def test_an_encoder_decoders_reference_is_on_what_the_encoder_reads() -> None:
    prepared = t5()
    asked = question(prepared, "das ist gut", answer="this is")
    found = one(prepared, asked)
    assert found.embeddings.shape == (1, 4, 16)
    assert found.kept.tolist() == [False, False, False, True, True, True]
    assert found.tokens == ("<unk>", "<unk>", "<unk>", "</s>")


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (PROMPT, "is the input itself, so that nothing changes"),
        (torch.full((16,), torch.nan), "'own embedding' holds numbers that are not finite"),
        (torch.zeros(4, 16), r"tensor \[4, 16\] of torch.float32; the input has 5 tokens of width 16"),
        (torch.zeros(4, dtype=torch.long), "or whole numbers .5."),
        (7, "reference is of type int; choose from neutral, random, mean"),
        (Random(corpus=("",)), "no token to draw from 1 texts"),
    ],
)
def test_what_is_no_reference(choice: Any, message: str) -> None:
    prepared = gpt2()
    with pytest.raises(LigflowError, match=message):
        reference(prepared, question(prepared, PROMPT), choice)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 0}, "count is 0"),
        ({"count": True}, "count is True"),
        ({"seed": 1.5}, "seed is 1.5; give a whole number"),
        ({"seed": None}, "seed is None"),
        ({"corpus": "one text"}, "corpus is one text; give several"),
        ({"corpus": (3,)}, "corpus holds 3; give texts"),
    ],
)
def test_random_references_that_are_none(options: dict[str, Any], message: str) -> None:
    with pytest.raises(LigflowError, match=message):
        Random(**options)


def test_masks_of_the_question_are_kept_whatever_the_reference() -> None:
    found = one(bert_masked(), question(bert_masked(), "the [MASK] sat"), "mean")
    assert found.kept.tolist() == [True, False, True, False, True]


def test_a_tensor_without_numbers_is_refused() -> None:
    with pytest.raises(LigflowError, match="tensor without numbers"):
        reference(gpt2(), question(gpt2(), PROMPT), torch.zeros(16, device="meta"))
