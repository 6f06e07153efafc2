"""Answers as tables: a row for each of their tokens and each of the prompt's, with sums that are known."""

import pytest

from hand_made_prediction import CAPITAL, answer_of
from ligflow.results.answer_tables import COLUMNS, to_pandas


def test_rows_are_those_of_the_prompt_and_sum_to_the_change_of_each_token() -> None:
    answer = answer_of((" Paris", ",", " of"))
    frame = to_pandas(answer.rows, len(CAPITAL))
    assert tuple(frame.columns) == COLUMNS
    assert len(frame) == 3 * len(CAPITAL)
    assert frame["answer_token"].tolist()[:: len(CAPITAL)] == [" Paris", ",", " of"]
    assert frame["token"].tolist() == CAPITAL * 3  # the answer's own earlier tokens are none of the prompt's
    sums = frame.groupby("answer_position")["relevance"].sum()
    assert sums.tolist() == pytest.approx([8.0, 4.0, 8.0 / 3])  # taught tokens are kept, and hold nothing
    assert frame["kept"].tolist() == [True, *[False] * 5] * 3
    cell = frame.iloc[len(CAPITAL) + 4]
    assert (cell["relevance"], cell["error"]) == (answer.rows[1].relevance[4], answer.rows[1].error[4])
