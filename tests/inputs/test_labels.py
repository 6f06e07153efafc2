"""Tokens as screens name them."""

import pytest

from ligflow.inputs.labels import is_blank, printable, told_apart, trimmed


def test_control_characters_are_escapes() -> None:
    assert printable("a\x1b[31m\n") == "a\\x1b[31m\\n"
    assert printable("é ü") == "é ü"


def test_blanks_around_a_token_are_cut_unless_it_is_one() -> None:
    assert [trimmed(token) for token in (" cat ", "  ", "a b")] == ["cat", "␣␣", "a b"]


def test_tokens_that_would_be_called_alike_show_their_blanks() -> None:
    assert told_apart(["cat", " cat", " dog"]) == ["cat", "␣cat", "dog"]
    assert told_apart([" cat", " cat"]) == ["cat", "cat"]


def test_what_vocabularies_write_for_blanks_is_blank() -> None:
    assert [is_blank(token) for token in ("ĠĊ", "▁", " \t", "Ġa")] == [True, True, True, False]


@pytest.mark.parametrize(
    ("token", "shown"),
    [
        ("plain naïve 👍 שלום", "plain naïve 👍 שלום"),
        ("\x1b[31m", r"\x1b[31m"),
        ("a\nb\tc", r"a\nb\tc"),
        ("\u202e", r"\u202e"),
    ],
)
def test_control_characters_are_shown_as_escapes(token: str, shown: str) -> None:
    assert printable(token) == shown


@pytest.mark.parametrize(
    ("token", "shown"), [(" capital", "capital"), (" ", "␣"), ("  ", "␣␣"), ("\n", r"\n"), ("##s", "##s")]
)
def test_tokens_are_named_without_the_blanks_around_them(token: str, shown: str) -> None:
    assert trimmed(token) == shown


@pytest.mark.parametrize(
    ("tokens", "shown"),
    [
        (["the", " cat", " the", " cat"], ["the", "cat", "␣the", "cat"]),
        ([" the", "the ", " the "], ["␣the", "the␣", "␣the␣"]),
        ([" ", "  ", "␣"], ["␣", "␣␣", "␣"]),
        ([" a\n", "a\n"], [r"␣a\n", r"a\n"]),
        ([" New York", "New York"], ["␣New York", "New York"]),
    ],
    ids=str,
)
def test_blanks_are_shown_where_they_alone_tell_tokens_apart(tokens: list[str], shown: list[str]) -> None:
    assert told_apart(tokens) == shown


def test_blanks_of_every_kind() -> None:
    assert all(map(is_blank, ["", " ", "\n", "\t\n", "Ġ", "Ċ", "▁▁"]))
    assert not any(map(is_blank, ["a", "Ġa", ".", "▁x"]))
