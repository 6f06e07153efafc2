"""Hidden units on screens: their table, and their rows under a prediction's heads and MLPs."""

from dataclasses import replace

from rich.console import Console

from ligflow.view import prediction_words
from ligflow.view.prediction_html import fragment
from ligflow.view.prediction_terminal import report
from results.test_neurons import with_units


def test_a_table_says_what_the_mlp_contributes_and_which_units_most() -> None:
    said = repr(with_units().neurons(1, top=2)).splitlines()
    assert said[0].startswith("layer 1: the MLP contributes +0.750, its 5 hidden units at 6 tokens together;")
    assert said[0].endswith("the 2 strongest: -1.00")
    assert said[1].split("  ")[0] == "hidden unit"
    assert said[2].split() == ["expert", "0,", "unit", "1", "is", "(5)", "-3.00", "-37%", "-2", "-4"]


def test_text_is_escaped() -> None:
    p = with_units()
    p = replace(p, tokens=[*p.tokens[:5], "<b>is"])
    assert "<td>&lt;b&gt;is (5)</td>" in p.neurons(1)._repr_html_()
    assert "unit 1 at ‘&lt;b&gt;is’" in fragment(p)
    assert "<b>is" not in fragment(p)


def test_units_stand_under_the_mlps_with_what_they_are_in_both_runs() -> None:
    titles = dict(prediction_words.strongest(with_units(), 2))
    rows = titles["strongest hidden units (reference → input)"]
    assert rows[0] == ("layer 1, expert 0, unit 1 at ‘is’ (-4 → -2)", -3.0)
    assert len(rows) == 2
    console = Console(width=100, record=True, file=None, quiet=False)
    with console.capture() as capture:
        report(with_units(), console, neurons=4)
    assert capture.get().count("layer 1, expert") == 4
