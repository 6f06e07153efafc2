"""Tokens as screens name them."""

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
