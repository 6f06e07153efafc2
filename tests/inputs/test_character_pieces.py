"""Characters in pieces: named after what they share, in whatever tokenizer, and one text again."""

from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import ByT5Tokenizer, PreTrainedTokenizerFast

from ligflow.inputs.character_pieces import NOTE, in_a_row, joined, pieces_note
from ligflow.inputs.token_text import token_texts
from ligflow.inputs.tokens import encode, name_inputs

THUMB, BIRD = "👍", "鿫"


def of_bytes(*merges: tuple[str, str]) -> Any:
    """A byte-level tokenizer, as GPT-2's, whose tokens are bytes but for some merges."""
    names = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *(a + b for a, b in merges)]
    tokenizer = Tokenizer(models.BPE({name: number for number, name in enumerate(names)}, [*merges]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def with_fallback() -> Any:
    """A tokenizer of SentencePiece's kind, as Llama's: what it has no token for is bytes."""
    names = ["<unk>", "a", "▁", *(f"<0x{byte:02X}>" for byte in range(256))]
    numbers = {name: number for number, name in enumerate(names)}
    tokenizer = Tokenizer(models.BPE(numbers, [], byte_fallback=True, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def pieces(text: str, count: int) -> list[str]:
    return [f"{text} {place}/{count}" for place in range(1, count + 1)]


@pytest.mark.parametrize(
    ("tokenizer", "text", "labels"),
    [
        (of_bytes(), f"a{THUMB}b", ["a", *pieces(THUMB, 4), "b"]),
        (of_bytes(("Ġ", "ð"), ("Ġð", "Ł")), f"a {THUMB}", ["a", *pieces(f" {THUMB}", 3)]),  # with its blank
        (of_bytes(), "éé", [*pieces("é", 2), *pieces("é", 2)]),
        (of_bytes(("©", "Ã")), "éé", pieces("éé", 3)),  # one token ends a letter and begins the next
        (of_bytes(), "a\ufffdb", ["a", "ï", "¿", "½", "b"]),  # the sign itself is no character in pieces
        (with_fallback(), f"a {BIRD}a", ["▁", "a", "▁", *pieces(BIRD, 3), "a"]),
        (ByT5Tokenizer(), f"à {BIRD}a", [*pieces("à", 2), " ", *pieces(BIRD, 3), "a", "</s>"]),
    ],
    ids=["bytes", "blank", "twice", "straddling", "sign", "fallback", "byt5"],
)  # fmt: skip
def test_pieces_are_named_after_the_character_that_they_share(
    tokenizer: Any, text: str, labels: list[str]
) -> None:
    inputs, tokens = encode(tokenizer, text, None)
    assert [*tokens.labels] == labels
    assert (NOTE in tokens.notes) == any("1/" in label for label in labels)
    given = name_inputs(tokenizer, inputs, len(labels))
    assert (given.labels, given.notes) == (tokens.labels, tokens.notes)


def test_bytes_that_are_no_text_keep_their_names() -> None:
    tokenizer = of_bytes()
    lone = tokenizer.convert_tokens_to_ids(["©", "Ã", "a"])
    assert token_texts(tokenizer, lone) == ("©", "Ã", "a")
    assert token_texts(tokenizer, [*lone[1::-1], 10**6]) == ("é 1/2", "é 2/2", "#1000000")
    assert token_texts(None, [3, 4]) == ("#3", "#4")


def test_a_character_in_pieces_stands_once_in_a_text() -> None:
    labels = ["a", *pieces(f" {THUMB}", 3), *pieces("é", 2), "\n"]
    assert joined(labels) == f"a {THUMB}é\n"
    assert in_a_row(labels, "·") == ["a", f" {THUMB}", "·", "·", "é", "·", "\n"]
    for whole in (["a 1/2", "b 2/2"], ["a 1/2"], ["2/2", "a 2/2"], []):
        assert in_a_row(whole) == whole
        assert pieces_note(whole) == ()
