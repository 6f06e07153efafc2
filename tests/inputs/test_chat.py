"""Chats: through the template, its own tokens special, nothing doubled, the same from ids and from text."""

from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import LlamaConfig, LlamaModel, PreTrainedTokenizerFast

from ligflow import Chat, Explainer, LigflowError
from ligflow.inputs.chat import encode_chat

WORDS = ["[UNK]", "<bos>", "<turn>", "<end>", "user", "model", "Hi", "there", "Hello", "you", "?", "[MASK]"]
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<turn>{{ m.role }}\n{{ m.content | trim }}<end>\n{% endfor %}"
    "{% if add_generation_prompt %}<turn>model\n{% endif %}"
)
CHAT = [
    {"role": "user", "content": " Hi there"},
    {"role": "model", "content": [{"type": "text", "text": "Hello you"}]},
    {"role": "user", "content": "you?"},
]
RENDERED = "<bos><turn>user\nHi there<end>\n<turn>model\nHello you<end>\n<turn>user\nyou?<end>\n<turn>model\n"
SAID = ["Hi", "there", "Hello", "you", "you", "?"]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    """Adds <bos> to a text, as those of decoders do."""
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(["<bos>", "<turn>", "<end>", "[MASK]"])
    tokenizer.post_processor = processors.TemplateProcessing("<bos> $A", special_tokens=[("<bos>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<bos>", unk_token="[UNK]", mask_token="[MASK]",
        chat_template=TEMPLATE,
    )  # fmt: skip


@pytest.fixture(scope="module")
def explainer(tokenizer: Any) -> Explainer:
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 48}
    return Explainer(LlamaModel(LlamaConfig(**sizes, vocab_size=len(WORDS))), tokenizer)


def test_the_tokens_of_the_template_are_hidden_as_a_group(explainer: Explainer) -> None:
    flow = explainer.explain(CHAT, routes="z2z")
    assert flow.meta["text"] == RENDERED
    assert flow.tokens[:4] == ["<bos>", "<turn>", "user", "Hi"]
    assert flow.tokens[-2:] == ["<turn>", "model"]  # where the answer begins
    assert [token for token, mark in zip(flow.tokens, flow.special, strict=True) if not mark] == SAID
    hidden = flow.hide_special()
    assert hidden.tokens == SAID
    shown = [place for place, mark in enumerate(flow.special) if not mark]
    torch.testing.assert_close(hidden.z2z, flow.z2z[:, shown][..., shown])
    assert any("all marked as special" in note for note in flow.meta["notes"])


def test_after_an_answer_none_is_begun(explainer: Explainer) -> None:
    assert explainer.explain(CHAT[:2], routes="z2z").tokens[-2:] == ["you", "<end>"]


def test_ids_text_and_messages_give_the_same_numbers(explainer: Explainer, tokenizer: Any) -> None:
    chat = explainer.explain(CHAT, routes="z2z")
    text = explainer.explain(RENDERED, routes="z2z")
    ids = tokenizer(RENDERED, add_special_tokens=False, return_tensors="pt")["input_ids"]
    given = explainer.explain({"input_ids": ids}, routes="z2z")
    assert chat.tokens == text.tokens == given.tokens
    assert torch.equal(chat.z2z, text.z2z)
    assert torch.equal(chat.z2z, given.z2z)
    assert text.special == given.special
    special = [token for token, mark in zip(text.tokens, text.special, strict=True) if mark]
    assert {*special} == {"<bos>", "<turn>", "<end>"}
    assert text.tokens.count("<bos>") == 1
    assert "the text begins with <bos> itself, so the tokenizer's own is left out" in text.meta["notes"]


def test_what_stands_for_a_part_of_the_text_is_not_special(explainer: Explainer) -> None:
    flow = explainer.explain("Hi [MASK] stranger", routes="z2z")
    assert (flow.tokens, flow.special) == (["<bos>", "Hi", "[MASK]", "[UNK]"], (True, False, False, False))
    assert not any("begins with" in note for note in flow.meta["notes"])
    given = explainer.explain({"input_ids": torch.tensor([[1, 6, 11, 0]])}, routes="z2z")
    assert given.special == flow.special


def test_a_chat_is_cut_like_a_text(
    explainer: Explainer, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokenizer, "model_max_length", 5)
    with pytest.raises(LigflowError, match="18 tokens, and the model takes 5"):
        explainer.explain(CHAT)
    flow = explainer.explain(CHAT, routes="z2z", truncate=True)
    assert flow.tokens == ["<bos>", "<turn>", "user", "Hi", "there"]


def test_several_chats(explainer: Explainer) -> None:
    many = [*explainer.explain_many([CHAT, "Hi there", CHAT[:1]], routes="z2z")]
    one = explainer.explain(CHAT, routes="z2z")
    torch.testing.assert_close(many[0].z2z, one.z2z, atol=1e-5, rtol=1e-4)
    assert [flow.meta["index"] for flow in many] == [0, 1, 2]
    with pytest.raises(LigflowError, match="for one, call explain"):
        explainer.explain_many(CHAT)


def test_a_chat_is_its_messages(explainer: Explainer) -> None:
    chat = Chat(CHAT)
    assert len(chat) == 3
    assert chat[1]["role"] == "model"
    assert torch.equal(explainer.explain(chat, routes="z2z").z2z, explainer.explain(CHAT, routes="z2z").z2z)
    with pytest.raises(LigflowError, match="no messages of a chat: 'Hi'; give a list of mappings"):
        Chat("Hi")  # type: ignore[arg-type]
    with pytest.raises(LigflowError, match="Message 0 says ''; give each a role and a text"):
        Chat([{"role": "user", "content": ""}])


def test_what_the_template_says_too_is_told_from_what_was_said(
    tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokenizer, "chat_template", "{{ bos_token }}<turn>Hello you<end>" + TEMPLATE[15:])
    chat = [
        {"role": "user", "content": "Hello"},
        {"role": "model", "content": " you "},
        {"role": "user", "content": "model"},
    ]
    _, tokens = encode_chat(tokenizer, chat, None, truncate=False)
    said = [place for place, mark in enumerate(tokens.special) if not mark]
    assert [tokens.labels[place] for place in said] == ["Hello", "you", "model"]
    assert said == [7, 11, 15]
    assert [role for role, _ in tokens.turns] == ["user", "model", "user"]


@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.parametrize(
    ("chat", "template", "said"),
    [
        ([{"role": "user", "content": " "}], TEMPLATE, "Message 0 says ' '; give each a role and a text"),
        ([{"role": "user", "content": [{"type": "image"}]}], TEMPLATE, "Message 0 says .*image"),
        (CHAT, None, "has no chat template; pass the chat as one text"),
        (CHAT, "{{ raise_exception('roles must alternate') }}", "these messages: roles must alternate"),
        (CHAT, "{{ bos_token }}{{ messages[0].content }}", "changes what message 1 says .'Hello"),
        ([{"role": "user"}], TEMPLATE, "The inputs are of type list"),
    ],
)  # fmt: skip
def test_what_is_no_chat_is_refused(
    explainer: Explainer, tokenizer: Any, monkeypatch: pytest.MonkeyPatch, chat: Any, template: Any, said: str
) -> None:
    monkeypatch.setattr(tokenizer, "chat_template", template)
    with pytest.raises(LigflowError, match=said):
        explainer.explain(chat)
