"""A prediction on the screen: the answer first, numbers as in Python, nothing hidden, never a flood."""

import io
from dataclasses import replace
from typing import Any

import pytest
import torch
from rich.console import Console

from hand_made_prediction import prediction_of
from ligflow import Prediction
from ligflow.view.prediction_terminal import report
from ligflow.view.prediction_words import CAVEAT, LEGEND, PARTS, SHARES, number, strongest_heads


def printed(prediction: Prediction, width: int = 100, *, colour: bool = False, **options: Any) -> list[str]:
    console = Console(file=io.StringIO(), width=width, force_terminal=colour,
        color_system="truecolor" if colour else None,
    )  # fmt: skip
    report(prediction, console, **options)
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


def test_the_answer_comes_first_and_the_sum_last() -> None:
    lines = printed(prediction_of())
    assert lines[0] == "the model (made by hand) says ‘ Paris’ 61%, ‘ the’ 8%, ‘ located’ 3%"
    assert lines[5] == "<|endoftext|>The capital of France is"
    assert lines[-2] == "the tokens add up to +8 of +8; estimated error 0.01% of what speaks for and against"
    assert lines[-1] == CAVEAT


def test_what_is_less_exact_than_it_should_be_is_said_before_the_caveat() -> None:
    prediction = prediction_of(unmet=True, layers=1)
    assert not any("less exact" in line for line in printed(prediction, 200))  # the whole is exact enough
    lines = printed(replace(prediction, error=torch.full((6,), 0.02 * prediction.scale / 6)), 200)
    assert lines[-2].startswith(
        "1 of 4 segments are less exact than they should be, most of all the head (5.0e-03"
    )


def test_errors_are_parts_of_what_speaks_for_and_against() -> None:
    """A change of 1 of relevances +6 and -5: an error of 0.22 is 2% of these, and 22% of the change."""
    cuts = torch.tensor([[6.0, -5.0]] * 3).double()
    prediction = prediction_of(["a", "b"], layers=1, kept=(), change=1.0, by_depth=cuts)
    lines = printed(replace(prediction, error=torch.tensor([0.07, 0.155]).double()))
    assert "the tokens add up to +1 of +1; estimated error 2% of what speaks for and against" in lines


def test_the_table_has_the_numbers_of_python_and_kept_tokens_are_not_0() -> None:
    prediction = prediction_of()
    lines = printed(prediction)
    start = next(at for at, line in enumerate(lines) if line.startswith("token "))
    rows = [line.split() for line in lines[start + 1 : start + 6]]
    order = prediction.relevance.abs().argsort(descending=True).tolist()[:5]
    assert [row[0] for row in rows] == [prediction.tokens[place].strip() for place in order]
    assert [float(row[1]) for row in rows] == pytest.approx(prediction.relevance[order].tolist(), rel=5e-3)
    size = float(prediction.relevance.abs().sum())
    shares = [100 * float(prediction.relevance[place]) / size for place in order]
    assert [float(row[2].removesuffix("%")) for row in rows] == pytest.approx(shares, abs=0.6)
    assert lines[start + 6] == "kept, the same in both runs: ‘<|endoftext|>’"


def test_words_for_are_blue_and_words_against_orange() -> None:
    prediction = prediction_of()
    values = prediction.by_depth.clone()
    values[0] = values.new_tensor([0, 4, -4, 0, 8, 0])
    text = printed(replace(prediction, by_depth=values), colour=True)[5]
    cells = {cell.split("m")[-1]: cell for cell in text.replace("\x1b[0m", "\x1b[").split("\x1b[")}
    assert cells["France"] == "38;2;255;255;255;48;2;33;102;172mFrance"
    assert "48;2;228;142;85m" in cells["capital"]  # half of the strongest, against
    assert cells["<|endoftext|>"] == "2m<|endoftext|>"


def test_heads_say_what_they_read_where_edges_are_stored() -> None:
    lines = printed(prediction_of(edges=range(3)), width=120)
    start = next(at for at, line in enumerate(lines) if line.startswith("strongest heads"))
    assert all(" reads " in line and "% from ‘" in line for line in lines[start + 1 : start + 6])
    assert any(line.startswith("strongest MLPs") for line in lines)
    assert lines[-3] == f"{SHARES}; {PARTS}"


def test_what_colours_mean_is_said_where_there_are_colours() -> None:
    assert LEGEND in "".join(printed(prediction_of(), colour=True))
    assert LEGEND not in printed(prediction_of())


def test_a_long_text_is_shown_around_its_strong_words_and_the_rest_counted() -> None:
    tokens = ["<s>", *(f" word{number}" for number in range(2000)), " is"]
    prediction = prediction_of(tokens, layers=1)
    lines = printed(prediction, width=80)
    assert len(lines) < 45
    text = "\n".join(lines[4:14])
    assert "tokens" in text
    strongest = tokens[int(prediction.relevance.abs().argmax())]
    assert strongest in text
    (rest,) = (line for line in lines if " more tokens: " in line)
    ranked = sorted(prediction.relevance.tolist(), key=abs)[:-8]
    assert rest.startswith("1993 more tokens: ")
    assert float(rest.split()[3]) == pytest.approx(sum(ranked), rel=5e-3)


def test_sums_over_spans_and_segments_are_printed_on_demand() -> None:
    plain = prediction_of(unmet=True)
    turns = {"turns": [["user", [1, 2, 3, 4]], ["assistant", [5]]]}
    prediction = replace(plain, meta={**plain.meta, "spans": turns})
    lines = printed(prediction, spans="turns", details=True)
    (user,) = (line.split() for line in lines if line.startswith("user"))
    assert float(user[1]) == pytest.approx(float(prediction.relevance[1:5].sum()), rel=5e-3)
    (head,) = (line.split() for line in lines if line.startswith("the head (missed)"))
    assert head[-4:] == ["31", "1.0e-05", "5.0e-03", "1.0e-03"]


def test_a_hostile_token_cannot_steer_the_terminal() -> None:
    lines = printed(prediction_of(["<s>", "\x1b[2J", " [red]x[/red]", " is"]))
    assert "\x1b" not in "\n".join(lines)
    assert any("[red]x[/red]" in line for line in lines)


def test_where_it_is_narrow_no_number_is_cut() -> None:
    prediction = prediction_of(edges=range(3), change=1e5)
    lines = printed(prediction, width=44)
    assert "…" not in "\n".join(lines)
    (best, *_) = strongest_heads(prediction, 1)
    assert any(number(best.relevance) in line for line in lines)
