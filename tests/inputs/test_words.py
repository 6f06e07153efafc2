"""Words of a text, from the text and the places of tokens in it."""

import pytest

from ligflow.inputs.words import words_of


def texts(text: str, *pieces: str) -> tuple[list[str], bool]:
    """The words, where the tokens are these pieces of the text, one after the other."""
    offsets, at = [], 0
    for piece in pieces:
        begin = text.index(piece, at)
        at = begin + len(piece)
        offsets.append((begin, at))
    spans, cut = words_of(text, offsets)
    return [text[begin:end] for begin, end in spans], cut


@pytest.mark.parametrize(
    ("text", "pieces", "words"),
    [
        ("我爱北京天安门", ["我爱", "北京", "天安门"], ["我爱", "北京", "天安门"]),
        ("猫が座る。", ["猫", "が", "座る", "。"], ["猫", "が", "座る", "。"]),
        ("コーヒー", ["コー", "ヒー"], ["コー", "ヒー"]),
        ("ภาษาไทย", ["ภาษา", "ไทย"], ["ภาษา", "ไทย"]),
        (
            "我love北京2024年",
            ["我", "lo", "ve", "北", "京", "2024", "年"],
            ["我", "love", "北", "京", "2024", "年"],
        ),
        ("the 北京", ["the", " 北", "京"], ["the", "北", "京"]),
    ],
)
def test_where_no_blanks_are_written_the_pieces_are_words(
    text: str, pieces: list[str], words: list[str]
) -> None:
    assert texts(text, *pieces) == (words, True)


def test_bytes_of_one_character_are_no_words() -> None:
    spans, cut = words_of("鿫天", [(0, 1), (0, 1), (0, 1), (1, 2)])
    assert (spans, cut) == (((0, 1), (1, 2)), True)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("한국어 단어", ["한국어", "단어"]),
        ("हिन्दी शब्द", ["हिन्दी", "शब्द"]),
        ("שָׁלוֹם, عَالَم", ["שָׁלוֹם", ",", "عَالَم"]),
        ("a\0b \1 c\1", ["a", "\0", "b", "\1", "c", "\1"]),
        ("\0\1", ["\0", "\1"]),
        ("cafe\u0301s", ["cafe\u0301s"]),
        ("👍🏽 👩\u200d💻 ok", ["👍🏽", "👩\u200d💻", "ok"]),
        ("\u0301x", ["\u0301", "x"]),
        ("snake_case 3.14 don’t", ["snake_case", "3", ".", "14", "don’t"]),
    ],
)
def test_elsewhere_blanks_and_signs_cut(text: str, words: list[str]) -> None:
    assert texts(text, *text.split()) == (words, False)
