"""What a token says: blanks in front, parts of letters, tokens without a name, several side by side."""

from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from ligflow.inputs.token_text import token_text, tokens_text


def of_bytes() -> Any:
    """A byte-level tokenizer, as GPT-2's: the letter é is one token, and its two bytes are one each."""
    names = ["Paris", "ĠParis", "Ċ", "Ã©", "Ã", "©"]
    tokenizer = Tokenizer(models.BPE({name: number for number, name in enumerate(names)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def of_pieces() -> Any:
    """A tokenizer of SentencePiece's kind, as Llama's, whose decoder drops the first blank of a text."""
    names = ["▁Paris", "Paris", "▁", "<0x0A>"]
    tokenizer = Tokenizer(
        models.BPE({name: number for number, name in enumerate(names)}, [], byte_fallback=True)
    )
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


@pytest.mark.parametrize(
    ("number", "said"), [(0, "Paris"), (1, " Paris"), (2, "\n"), (3, "é"), (4, "Ã"), (5, "©")]
)
def test_bytes_are_read_and_a_part_of_a_letter_keeps_its_name(number: int, said: str) -> None:
    assert token_text(of_bytes(), number) == said


@pytest.mark.parametrize(("number", "said"), [(0, " Paris"), (1, "Paris"), (2, " "), (3, "\n")])
def test_a_piece_has_the_blank_that_its_decoder_drops(number: int, said: str) -> None:
    assert token_text(of_pieces(), number) == said


def test_a_token_without_a_name_is_a_number() -> None:
    assert token_text(None, 7) == "#7"
    assert token_text(of_bytes(), 99) == "#99"


def test_tokens_side_by_side_show_where_each_begins() -> None:
    assert tokens_text(of_bytes(), [1, 0, 2]) == " Paris|Paris|\n"
    assert tokens_text(None, [3, 4]) == "#3|#4"
    assert tokens_text(None, []) == ""
