"""A segment that reads its source at few tokens alone: those tokens, and their numbers among all."""

import torch
from torch import Tensor, nn

from ligflow.prediction.path_variable import Variable
from ligflow.prediction.segment import FewTokens, Segment


def double(rows: Tensor) -> Tensor:
    return 2 * rows


def total(row: Tensor) -> Tensor:
    return row.sum((-2, -1))


def largest(row: Tensor) -> Tensor:
    return row.amax((-2, -1))


FEW = FewTokens(torch.tensor([[1, 2], [0, 2]]), nn.Identity(), double, (total, largest))
WHOLE = Segment("head", None, "rest", ("z",), ("s",), run=dict)


def test_it_computes_the_images_of_its_rows_from_their_few_tokens() -> None:
    values = torch.arange(8.0).reshape(2, 2, 2)  # one point of two rows, at two tokens each
    image = FEW.segment(WHOLE).run({"z": values})["s"]
    assert image.tolist() == [2 * (0 + 1 + 2 + 3), 2 * 7]


def test_it_takes_these_tokens_of_a_source_and_puts_numbers_back_among_all() -> None:
    real = torch.arange(12.0).reshape(2, 3, 2)
    variable = FEW.variable(Variable(real, torch.zeros(2, 3, 2), rows=True))
    assert variable.real.tolist() == [[[2, 3], [4, 5]], [[6, 7], [10, 11]]]
    back = FEW.among(variable.real, 3)
    assert back.tolist() == [[[0, 0], [2, 3], [4, 5]], [[6, 7], [0, 0], [10, 11]]]


def test_rows_are_taken_and_joined() -> None:
    second = FEW.only(torch.tensor([False, True]))
    assert second.places.tolist() == [[0, 2]]
    assert second.images == (largest,)
    joined = FewTokens.joined([second, FEW])
    assert joined.places.tolist() == [[0, 2], [1, 2], [0, 2]]
    assert joined.images == (largest, total, largest)
