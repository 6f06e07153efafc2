"""Tables and text in Markdown, and pages as a terminal shows them."""

from ligflow.corpus.reports.markdown import in_words, plain, table


def test_a_table() -> None:
    assert table(["a", "b"], [["1", "2"], ["3", "4"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |\n| 3 | 4 |"


def test_text_is_shown_as_it_is() -> None:
    assert plain("a|b\n<i>*x*</i>") == "a\\|b \\<i\\>\\*x\\*\\</i\\>"
    assert plain("plain words, 1 of 2") == "plain words, 1 of 2"


def test_a_terminal_shows_no_marks() -> None:
    lines = ["- **2 heads** read `z2u`", "as it is - so"]
    assert in_words(lines) == ["2 heads read z2u", "as it is - so"]
