"""What is printed of a trace: steps of a path, tokens of a depth."""

from types import SimpleNamespace

import torch

from ligflow.cli import trace_screen

TOKENS = ("[CLS]", "cat", "sat")


def test_a_token_that_stays_is_one_step() -> None:
    followed, path = SimpleNamespace(tokens=TOKENS), SimpleNamespace(nodes=(2, 1, 1, 1, 0))
    assert list(trace_screen._steps(followed, path)) == ["sat", "cat (×3)", "[CLS]"]  # type: ignore[arg-type]


def test_a_row_of_the_table_is_in_order_and_without_nothing() -> None:
    relevance = torch.tensor([[0.0, 0.0, 1.0], [0.004, 0.746, -0.25]], dtype=torch.float64)
    table = trace_screen._table(SimpleNamespace(tokens=TOKENS, layers=(3,), relevance=relevance))  # type: ignore[arg-type]
    names, shares = (list(column.cells) for column in table.columns)
    assert names == ["after layer 3", "input"]
    assert [str(share).split() for share in shares] == [["sat", "100"], ["cat", "75", "sat", "-25"]]


def test_rows_without_anything_to_share() -> None:
    assert trace_screen._still(1) == "1 token did not move and keeps its share"
    assert trace_screen._still(3) == "3 tokens did not move and keep their share"
