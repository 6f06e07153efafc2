"""An answer: its matrix, its whole, files and tables, against its rows."""

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from hand_made_prediction import CAPITAL, answer_of, prediction_of
from ligflow import Answer, Flow, LigflowError, Prediction
from ligflow.view.answer_terminal import made_of, report


def test_the_matrix_is_relevance_of_the_prompt_by_token_of_the_answer() -> None:
    answer = answer_of()
    assert (answer.tokens, answer.prompt) == ([" Paris", ",", " of"], CAPITAL)
    assert answer.matrix.shape == answer.errors.shape == (3, 6)
    assert answer.changes.tolist() == [8.0, 4.0, 8 / 3]
    torch.testing.assert_close(answer.matrix.sum(-1), answer.changes)  # taught tokens are kept: 0
    np.testing.assert_array_equal(answer.matrix[1], answer.rows[1].relevance[:6])
    assert answer.certificates.abs().max() < 1e-9


def test_the_whole_is_the_sum_of_the_rows() -> None:
    answer = answer_of(edges=[1])
    whole = answer.whole
    assert (whole.value, whole.change) == (-1.5, pytest.approx(8 + 4 + 8 / 3))
    torch.testing.assert_close(whole.relevance[:6], answer.matrix.sum(0))
    torch.testing.assert_close(whole.error, sum((row.error for row in answer.rows), torch.zeros(8)))
    torch.testing.assert_close(whole.heads[2], sum(row.heads[2] for row in answer.rows))
    torch.testing.assert_close(whole.edges(1), sum(row.edges(1) for row in answer.rows))
    assert whole.meta["question"] == " Paris, of"
    assert len(whole.certificates) == 30
    assert whole.certificates[0].name == "layer 0: attention, ‘ Paris’"
    spans = answer.by({"both": [1, 4]})
    assert spans[0].relevance == pytest.approx(float(answer.matrix[:, [1, 4]].sum()))


def test_an_answer_is_saved_and_read_bit_for_bit(tmp_path: Path) -> None:
    answer = answer_of(edges=[0])
    file = answer.save(tmp_path / "answer.safetensors")
    again = Answer.load(file)
    assert again.matrix.equal(answer.matrix)
    assert again.whole.edges(0).equal(answer.whole.edges(0))
    assert [row.meta for row in again.rows] == [row.meta for row in answer.rows]
    assert repr(again) == repr(answer)
    for kind in (Flow, Prediction):
        with pytest.raises(LigflowError, match=r"holds an answer, not a .*: Answer\.load reads it"):
            kind.load(file)
    with pytest.raises(LigflowError, match=r"holds a prediction, not an answer: Prediction\.load"):
        Answer.load(prediction_of().save(tmp_path / "one.safetensors"))


def test_a_table_and_json_hold_every_cell() -> None:
    answer = answer_of()
    frame = answer.to_pandas()
    np.testing.assert_array_equal(frame.relevance.to_numpy().reshape(3, 6), answer.matrix)
    np.testing.assert_array_equal(frame.error.to_numpy().reshape(3, 6), answer.errors)
    assert frame.answer_token.tolist()[::6] == [" Paris", ",", " of"]
    assert frame.token.tolist()[:6] == CAPITAL
    data = json.loads(answer.to_json())
    assert data["rows"][1]["relevance"][:6] == answer.matrix[1].tolist()


def test_the_screen_has_a_line_for_each_token_and_then_the_whole() -> None:
    answer = answer_of()
    console = Console(file=io.StringIO(), width=100)
    report(answer.whole, answer.rows, console)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert lines[0] == "the answer: ‘Paris, of’"
    assert [line.split()[:4] for line in lines[2:5]] == [
        ["Paris", "-0.5", "-8.5", "+8.00"], [",", "-0.5", "-4.5", "+4.00"], ["of", "-0.5", "-3.17", "+2.67"],
    ]  # fmt: skip
    assert all(made_of(row) in line for row, line in zip(answer.rows, lines[2:5], strict=True))
    assert any(line.startswith("asked: log-probability of ‘ Paris, of’: -1.5,") for line in lines)


def test_a_token_names_the_words_it_is_made_of() -> None:
    row = prediction_of()
    values = row.by_depth.clone()
    values[0] = values.new_tensor([0, 5, -1, 2, 0.5, 1.5])
    assert made_of(replace(row, by_depth=values)) == "The 50%, of 20%, is 15%"


def test_the_page_has_a_cell_for_each_pair(tmp_path: Path) -> None:
    answer = answer_of()
    html = answer.to_html(tmp_path / "answer.html").read_text()
    assert "<h1>The answer: ‘Paris, of’</h1>" in html
    value = float(answer.matrix[1, 4])
    assert f'title=",, France: {value:+.4g} (' in html
    assert html.count(", &lt;|endoftext|&gt;: kept, the same in both runs") == 4  # by token, and at the input


def test_an_answer_without_rows_is_refused() -> None:
    with pytest.raises(LigflowError, match="there is none"):
        Answer(())
